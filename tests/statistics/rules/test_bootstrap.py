"""Bootstrap intervals over groups of rows, and measures of weighted rows."""

import numpy as np
import pytest

from app.statistics import bootstrap, measures


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
