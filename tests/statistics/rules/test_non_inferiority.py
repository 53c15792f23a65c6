"""Verdicts from intervals and bounds: which pass, and how often a bad candidate does."""

from math import inf, nan, sqrt

import numpy as np
import pytest

from app.statistics.non_inferiority import groups_to_pass, not_worse, verdict

Z = 1.959963984540054
EXPERIMENTS = 20_000


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.01, 0.05, "passed"),
        (-0.02, 0.05, "passed"),
        (-0.03, 0.05, "undecided"),
        (-0.05, -0.02, "undecided"),
        (-0.05, -0.03, "refused"),
        (0.0, 0.0, "passed"),
    ],
)
def test_a_candidate_passes_if_its_whole_interval_lies_above_the_margin_and_is_refused_if_all_of_it_lies_below(
    low, high, expected
):
    assert not_worse(low, high, 0.02) == expected
    assert not_worse(-high, -low, 0.02, lower_is_better=True) == expected


def test_a_negative_margin_demands_that_the_candidate_is_better():
    assert not_worse(0.01, 0.05, -0.02) == "undecided"
    assert not_worse(0.03, 0.05, -0.02) == "passed"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.9, 1.1, "passed"),
        (0.8, 1.0, "undecided"),
        (1.1, 1.2, "undecided"),
        (0.8, 1.2, "undecided"),
        (0.5, 0.8, "refused"),
        (1.2, 3.0, "refused"),
    ],
)
def test_a_range_is_kept_if_the_whole_interval_lies_within_it(low, high, expected):
    assert verdict(low, high, at_least=0.87, at_most=1.15) == expected


@pytest.mark.parametrize(
    ("low", "high"),
    [(None, 0.1), (0.1, None), (nan, 0.1), (0.1, nan), (0.1, inf), (-inf, 0.1), (0.2, 0.1), (None, None)],
)
def test_a_missing_infinite_or_reversed_interval_is_undecided(low, high):
    assert verdict(low, high, at_least=-5) == "undecided"
    assert verdict(low, high, at_most=5) == "undecided"
    assert not_worse(low, high, 5) == "undecided"


@pytest.mark.parametrize("margin", [nan, inf, -inf])
def test_a_margin_that_is_no_number_decides_nothing(margin):
    assert not_worse(0.1, 0.2, margin) == "undecided"
    assert verdict(0.1, 0.2) == "undecided"
    assert verdict(0.1, 0.2, at_least=margin, at_most=nan) == "undecided"


def verdicts(mean_EG: np.ndarray, **bounds: float) -> dict[str, float]:
    """Returns the share of each verdict on the 95 % intervals of the means of G groups."""
    mean_E, half_E = mean_EG.mean(1), Z * mean_EG.std(1, ddof=1) / sqrt(mean_EG.shape[1])
    given = [verdict(low, high, **bounds) for low, high in zip(mean_E - half_E, mean_E + half_E, strict=True)]
    return {name: given.count(name) / len(given) for name in ("passed", "refused", "undecided")}


def test_a_candidate_exactly_at_the_margin_passes_as_seldom_as_promised():
    difference_EG = np.random.default_rng(0).normal(-0.05, 0.3, size=(EXPERIMENTS, 200))

    shares = verdicts(difference_EG, at_least=-0.05)

    assert shares["passed"] == pytest.approx(0.025, abs=0.004)
    assert shares["refused"] == pytest.approx(0.025, abs=0.004)


def test_a_candidate_that_is_worse_than_the_margin_hardly_ever_passes_with_any_amount_of_data():
    generator = np.random.default_rng(1)

    for groups in (30, 100, 400):
        assert verdicts(generator.normal(-0.1, 0.3, size=(2000, groups)), at_least=-0.05)["passed"] < 0.025


def test_two_bounds_err_no_more_often_than_one():
    ratio_EG = np.random.default_rng(2).normal(1.15, 0.2, size=(EXPERIMENTS // 2, 200))

    assert verdicts(ratio_EG, at_least=0.87, at_most=1.15)["passed"] <= 0.03


@pytest.mark.parametrize("bounds", [{"at_least": -0.05}, {"at_most": 0.05}, {"at_least": -0.05, "at_most": 0.05}])
def test_an_undecided_candidate_passes_with_the_number_of_groups_that_is_named(bounds):
    # given a candidate as good as what is shipped, undecided on 40 groups
    low, high = -Z * 0.3 / sqrt(40), Z * 0.3 / sqrt(40)
    assert verdict(low, high, **bounds) == "undecided"

    groups = groups_to_pass(low, high, 40, expected=0.0, power=0.8, **bounds)

    assert groups is not None
    assert groups > 40
    passed = verdicts(np.random.default_rng(3).normal(0, 0.3, size=(3000, groups)), **bounds)["passed"]
    assert passed == pytest.approx(0.8, abs=0.025)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(None, 0.1, 0.0), (nan, 0.1, 0.0), (0.1, 0.1, 0.0), (-0.1, 0.1, -0.05), (-0.1, 0.1, nan)],
)
def test_no_number_of_groups_is_named_for_a_candidate_that_is_unknown_or_not_expected_to_pass(low, high, expected):
    assert groups_to_pass(low, high, 40, expected=expected, at_least=-0.05) is None
