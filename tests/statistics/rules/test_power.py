"""The smallest difference that a number of groups can show, and the number of groups that a difference needs."""

from math import inf, nan, sqrt

import numpy as np
import pytest

from app.statistics import power

EXPERIMENTS = 20_000


def detected(value_EG: np.ndarray) -> float:
    """Returns the share of experiments whose 95 % interval of the mean of G groups excludes 0."""
    error_E = value_EG.std(axis=1, ddof=1) / sqrt(value_EG.shape[1])
    return float((np.abs(value_EG.mean(axis=1)) > 1.96 * error_E).mean())


def test_the_minimum_detectable_difference_of_a_mean_is_detected_with_the_promised_power():
    generator = np.random.default_rng(0)
    smallest = power.minimum_detectable_difference(power.standard_error_of_mean(4.0, 100))

    assert smallest == pytest.approx(0.5603, abs=1e-4)
    assert detected(smallest + 2 * generator.normal(size=(EXPERIMENTS // 4, 100))) == pytest.approx(0.8, abs=0.02)


def test_the_minimum_detectable_difference_of_two_shares_is_detected_with_the_promised_power():
    generator = np.random.default_rng(1)
    rows, share = 500, 0.4
    smallest = power.minimum_detectable_difference(
        power.standard_error_of_mean(2 * share * (1 - share), rows), power=0.9
    )

    first_E = generator.binomial(rows, share - smallest / 2, size=EXPERIMENTS) / rows
    second_E = generator.binomial(rows, share + smallest / 2, size=EXPERIMENTS) / rows

    error_E = np.sqrt((first_E * (1 - first_E) + second_E * (1 - second_E)) / rows)
    assert (np.abs(second_E - first_E) > 1.96 * error_E).mean() == pytest.approx(0.9, abs=0.01)


def test_the_number_of_groups_that_is_enough_detects_the_difference():
    generator = np.random.default_rng(2)
    deviation = 0.25 * sqrt(40)

    groups = power.enough_groups(0.3, standard_error=0.25, groups=40)

    assert groups == 219
    assert detected(0.3 + deviation * generator.normal(size=(EXPERIMENTS // 4, groups))) == pytest.approx(0.8, abs=0.02)


def test_enough_groups_is_the_inverse_of_the_minimum_detectable_difference():
    for groups in (1, 30, 977):
        smallest = power.minimum_detectable_difference(power.standard_error_of_mean(0.21, groups), 0.1, 0.9)

        assert power.enough_groups(smallest, sqrt(0.21), 1, 0.1, 0.9) == groups
        assert power.enough_groups(-smallest, sqrt(0.21), 1, 0.1, 0.9) == groups


def test_the_design_effect_is_the_variance_of_grouped_rows_over_that_of_independent_ones():
    generator = np.random.default_rng(3)
    between, within = 0.6, 0.8  # of variances 0.36 and 0.64
    mean_E = between * generator.normal(size=(EXPERIMENTS, 10)).mean(1) + within * generator.normal(
        size=(EXPERIMENTS, 10, 5)
    ).mean((1, 2))

    error = power.standard_error_of_mean(1.0, 50, power.design_effect(5, correlation=0.36))

    assert error == pytest.approx(mean_E.std(), rel=0.03)


def test_the_standard_error_of_an_interval_is_that_which_made_it():
    assert power.standard_error_of_interval(0.5 - 1.96 * 0.1, 0.5 + 1.96 * 0.1) == pytest.approx(0.1, rel=1e-4)
    assert power.standard_error_of_interval(0.5 - 1.645 * 0.1, 0.5 + 1.645 * 0.1, 0.9) == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize(
    ("difference", "error"), [(0.0, 1.0), (nan, 1.0), (inf, 1.0), (0.1, 0.0), (0.1, nan), (0.1, inf)]
)
def test_without_a_difference_or_a_spread_no_number_of_groups_is_known(difference, error):
    assert power.enough_groups(difference, error, 30) is None


@pytest.mark.parametrize(("alpha", "promised"), [(0, 0.8), (1, 0.8), (nan, 0.8), (0.05, 1), (0.05, 0.3), (0.05, nan)])
def test_an_impossible_error_rate_or_power_is_refused(alpha, promised):
    with pytest.raises(ValueError, match="expected 0 < alpha < 1"):
        power.minimum_detectable_difference(0.1, alpha, promised)
