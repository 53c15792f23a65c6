"""AUROC, intervals and drift against their definitions."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.evaluation import statistics
from worker.evaluation.sampling import drift_of_tokens

ROWS = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=1, max_size=25)


def over(groups: list[int], *, resamples: int = 400) -> statistics.Bootstrap:
    return statistics.Bootstrap(np.array(groups), resamples, 0.95, 0)


@given(ROWS)
def test_auroc_counts_pairs_and_half_of_the_ties_with_any_weights(rows: list[tuple[int, bool, int]]) -> None:
    scores, labels, weights = (np.array(column) for column in zip(*rows, strict=True))
    won = total = 0.0
    for (up, good, a), (down, bad, b) in itertools.product(rows, rows):
        if good and not bad:
            total += a * b
            won += a * b * (1.0 if up > down else 0.5 if up == down else 0.0)

    [ours] = statistics.auroc(scores, labels)(weights[None, :].astype(float))

    assert ours == pytest.approx(won / total) if total else np.isnan(ours)


def test_an_interval_over_prompts_is_wider_than_one_over_copied_rows() -> None:
    # given 30 prompts with 20 rows each, alike within a prompt
    value = np.repeat(np.random.default_rng(0).normal(size=30), 20)
    prompts = np.repeat(np.arange(30), 20).tolist()

    grouped = over(prompts).interval(statistics.mean(value), "")
    naive = over(list(range(600))).interval(statistics.mean(value), "")

    expected = 2 * 1.96 * value.std() / 30**0.5
    assert grouped["high"] - grouped["low"] == pytest.approx(expected, rel=0.15)
    assert naive["high"] - naive["low"] < 0.4 * expected
    assert grouped["low"] < grouped["value"] == naive["value"] < grouped["high"]


def test_a_paired_difference_is_narrower_than_its_parts() -> None:
    generator = np.random.default_rng(0)
    labels = generator.random(200) < 0.4
    score = labels + generator.normal(size=200)
    one, other = statistics.auroc(score, labels), statistics.auroc(score + generator.normal(size=200) / 10, labels)
    prompts = over(list(range(200)))

    difference = prompts.interval(statistics.difference(one, other), "")
    single = prompts.interval(one, "")

    assert difference["high"] - difference["low"] < 0.3 * (single["high"] - single["low"])
    assert prompts.interval(one, "") == single, "the same draws each time"


def test_a_missing_class_gives_null_with_its_reason() -> None:
    one_class = statistics.auroc(np.arange(5.0), np.ones(5, dtype=bool))

    assert over([0, 1, 2, 3, 4]).interval(one_class, "one class") == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "one class",
    }
    assert over([]).interval(one_class, "one class")["reason"] == "the holdout has no rows"


def test_draws_in_small_parts_cover_all_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "CELLS", 70)
    seen: list[int] = []

    over(list(range(20)), resamples=101).interval(lambda W: (seen.append(len(W)), W[:, 0])[1], "")

    assert sum(seen[1:]) == 101
    assert max(seen) == 3


def test_calibration_is_the_gap_between_probability_and_outcome() -> None:
    probability = np.array([0.05, 0.05, 0.95, 0.95])
    labels = np.array([0.0, 0.0, 1.0, 0.0])

    [ours] = statistics.calibration_error(probability, labels)(np.ones((1, 4)))

    assert ours == pytest.approx((0.05 + 0.45) / 2)


def test_the_expected_drift_is_the_divergence_and_no_token_counts_below_zero() -> None:
    generator = np.random.default_rng(0)
    p, q = (values / values.sum() for values in generator.random((2, 50)))

    drift = drift_of_tokens(np.log(p), np.log(q))

    assert (drift >= 0).all()
    assert (p * drift).sum() == pytest.approx((p * np.log(p / q)).sum())
