"""Bootstrap intervals over groups of rows, and measures of weighted rows."""

from functools import cache

import numpy as np
import pytest

from app.statistics import bootstrap, measures
from app.statistics.non_inferiority import not_worse


def over(groups: list[int], weights: list[float] | None = None, *, resamples: int = 400) -> bootstrap.Bootstrap:
    weight = np.ones(len(groups)) if weights is None else np.array(weights)
    return bootstrap.Bootstrap(np.array(groups), weight, resamples, 0.95, 0)


def holdout(rows: int = 60) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Returns scores that depend on the labels, the labels, and prompts of two rows each."""
    generator = np.random.default_rng(1)
    labels = generator.random(rows) < 0.4
    return labels + generator.normal(size=rows), labels, (np.arange(rows) // 2).tolist()


def figures(score: np.ndarray, label: np.ndarray, prompts: list[int], weights: list[float] | None = None) -> dict:
    """Returns every figure of the holdout that depends on single rows."""
    over_prompts = over(prompts, weights)
    probability = 1 / (1 + np.exp(-score))
    figures_of_holdout = {
        "auroc": measures.auroc(score, label),
        "accuracy": measures.mean((score > 0.3) == label),
        "margin": measures.margin(score, label),
        "ece": measures.calibration_error(probability, label.astype(float)),
        "difference": measures.difference(measures.auroc(score, label), measures.constant(0.5)),
    }
    return {name: over_prompts.interval(statistic, "") for name, statistic in figures_of_holdout.items()}


def assert_equal(ours: dict, expected: dict) -> None:
    for name, figure in expected.items():
        assert ours[name] == pytest.approx(figure, rel=1e-9), name


def test_a_row_of_weight_2_counts_as_the_row_twice_in_every_figure_and_interval() -> None:
    score, label, prompts = holdout()
    twice = [3, 10, 11, 40]
    repeated = np.r_[np.arange(60), twice]

    weighted = figures(score, label, prompts, [2.0 if row in twice else 1.0 for row in range(60)])

    assert_equal(weighted, figures(score[repeated], label[repeated], [prompts[row] for row in repeated]))
    assert weighted != figures(score, label, prompts)


def test_weights_count_by_their_ratios_alone() -> None:
    weights = np.random.default_rng(2).random(60) + 0.1

    assert_equal(figures(*holdout(), (weights * 7).tolist()), figures(*holdout(), weights.tolist()))


def test_a_row_of_weight_0_has_no_part_in_any_figure() -> None:
    score, label, prompts = holdout()
    kept = np.array([row not in (3, 10, 40) for row in range(60)])  # every prompt keeps a row

    weighted = figures(score, label, prompts, kept.astype(float).tolist())

    assert_equal(weighted, figures(score[kept], label[kept], np.array(prompts)[kept].tolist()))


def test_weights_of_1_are_the_plain_means_and_shares() -> None:
    score, label, prompts = holdout()

    ours = figures(score, label, prompts)

    assert ours["accuracy"]["value"] == pytest.approx(((score > 0.3) == label).mean())
    assert ours["margin"]["value"] == pytest.approx(score[label].mean() - score[~label].mean())


def test_an_interval_over_prompts_is_wider_than_one_over_copied_rows() -> None:
    # given 30 prompts with 20 rows each, alike within a prompt
    value = np.repeat(np.random.default_rng(0).normal(size=30), 20)
    prompts = np.repeat(np.arange(30), 20).tolist()

    grouped = over(prompts).interval(measures.mean(value), "")
    naive = over(list(range(600))).interval(measures.mean(value), "")

    expected = 2 * 1.96 * value.std() / 30**0.5
    assert grouped["high"] - grouped["low"] == pytest.approx(expected, rel=0.15)
    assert naive["high"] - naive["low"] < 0.4 * expected
    assert grouped["low"] < grouped["value"] == naive["value"] < grouped["high"]


def test_a_paired_difference_is_narrower_than_its_parts() -> None:
    generator = np.random.default_rng(0)
    labels = generator.random(200) < 0.4
    score = labels + generator.normal(size=200)
    one, other = measures.auroc(score, labels), measures.auroc(score + generator.normal(size=200) / 10, labels)
    prompts = over(list(range(200)))

    difference = prompts.interval(measures.difference(one, other), "")
    single = prompts.interval(one, "")

    assert difference["high"] - difference["low"] < 0.3 * (single["high"] - single["low"])
    assert prompts.interval(one, "") == single, "the draws must be the same each time"


def test_a_missing_class_gives_null_with_its_reason() -> None:
    one_class = measures.auroc(np.arange(5.0), np.ones(5, dtype=bool))

    assert over([0, 1, 2, 3, 4]).interval(one_class, "one class") == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "one class",
    }
    assert over([]).interval(one_class, "one class")["reason"] == "the holdout has no rows"


def test_draws_in_small_parts_cover_all_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "CELLS", 70)
    seen: list[int] = []

    over(list(range(20)), resamples=101).interval(lambda W: (seen.append(len(W)), W[:, 0])[1], "")

    assert sum(seen[1:]) == 101
    assert max(seen) == 3


@cache
def simulated_intervals(*, resampled: str, seeds: int, resamples: int = 1000) -> list[dict]:
    """Returns 95 % intervals of a mean whose true value is 0, from 100 simulated holdouts for each seed.

    A holdout has 100 prompts with 3 rows each; half of the variance lies between prompts.
    """
    generator = np.random.default_rng(0)
    prompts_N = np.repeat(np.arange(100), 3)
    keys_N = prompts_N if resampled == "prompts" else np.arange(300)
    intervals: list[dict] = []
    for seed in range(seeds):
        values = [generator.normal(size=100)[prompts_N] + generator.normal(size=300) for _ in range(100)]
        over_keys = bootstrap.Bootstrap(keys_N, np.ones(300), resamples, 0.95, seed)
        means = {str(number): measures.mean(value_N) for number, value_N in enumerate(values)}
        intervals += over_keys.intervals(means, "").values()
    return intervals


def coverage(intervals: list[dict]) -> float:
    return float(np.mean([figure["low"] <= 0 <= figure["high"] for figure in intervals]))


def test_an_interval_over_prompts_covers_the_truth_as_often_as_promised_and_one_over_rows_does_not() -> None:
    assert 0.93 <= coverage(simulated_intervals(resampled="prompts", seeds=10)) <= 0.97
    assert coverage(simulated_intervals(resampled="rows", seeds=4, resamples=400)) < 0.87


def test_a_candidate_exactly_at_the_margin_passes_by_its_bootstrap_interval_as_seldom_as_promised() -> None:
    verdicts = [
        not_worse(figure["low"], figure["high"], margin=0.0)
        for figure in simulated_intervals(resampled="prompts", seeds=10)
    ]

    assert verdicts.count("passed") / len(verdicts) == pytest.approx(0.025, abs=0.015)  # three standard errors
    assert verdicts.count("refused") / len(verdicts) < 0.05


def test_intervals_of_several_statistics_are_those_of_each_alone() -> None:
    score, label, prompts = holdout()
    statistics = {"auroc": measures.auroc(score, label), "accuracy": measures.mean((score > 0.3) == label)}

    together = over(prompts).intervals(statistics, "")

    assert together == {name: over(prompts).interval(statistic, "") for name, statistic in statistics.items()}


def test_a_statistic_without_a_value_leaves_the_intervals_of_the_others() -> None:
    both = over([0, 1, 1]).intervals(
        {"known": measures.mean(np.arange(3.0)), "unknown": measures.mean(np.array([1.0, np.nan, 2.0]))}, "NaN"
    )

    assert both["known"]["value"] == 1
    assert both["unknown"] == {"value": None, "low": None, "high": None, "reason": "NaN"}


def test_arms_are_compared_on_the_rows_that_both_have_and_the_others_are_counted() -> None:
    # given two arms on 40 prompts with 2 rows each, the second worse by 0.3, and values that a judge could not give
    generator = np.random.default_rng(4)
    second = np.repeat(generator.normal(size=40), 2) + generator.normal(size=80) / 10
    first = second + 0.3 + generator.normal(size=80) / 10
    first[[0, 1]], second[[1, 7]] = np.nan, np.nan
    prompts = np.repeat(np.arange(40), 2)

    figure = bootstrap.paired_difference(over(prompts.tolist()), first, second)

    kept = ~np.isin(np.arange(80), [0, 1, 7])
    alone = over((prompts[kept] - 1).tolist()).interval(measures.mean(first[kept] - second[kept]), "")
    assert {name: figure[name] for name in alone} == pytest.approx(alone)
    assert (figure["rows"], figure["groups"], figure["missing"]) == (77, 39, 3)
    assert 0.25 < figure["low"] < 0.3 < figure["high"] < 0.35


def test_arms_without_a_common_row_have_no_difference() -> None:
    nothing = bootstrap.paired_difference(over([0, 1]), np.array([np.nan, 1.0]), np.array([1.0, np.nan]))

    assert nothing == {
        "value": None, "low": None, "high": None, "reason": "no row has a value of both arms",
        "rows": 0, "groups": 0, "missing": 2,
    }  # fmt: skip


def test_an_infinite_value_gives_no_difference_and_says_so() -> None:
    figure = bootstrap.paired_difference(over([0, 1]), np.array([np.inf, 1.0]), np.array([1.0, 2.0]))

    assert (figure["low"], figure["rows"]) == (None, 2)
    assert "infinite" in figure["reason"]
