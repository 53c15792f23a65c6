"""Compares models by their outcomes on the same suite: shares of passed tests and paired differences. Pure.

A test counts once, whatever its number of prompts: its value is the mean over its decided samples, so samples of one
test, which resemble each other, do not narrow an interval. Undecided samples are left out; in a difference, a sample is
left out if it is undecided for either model.

Legend: N tests.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.statistics.bootstrap import Bootstrap, paired_difference
from app.statistics.shares import wilson
from app.suites.grading import GradedTest, scores_by_metric

#: A test, and what is scored in it: a prompt, or an assertion of a metric with its place.
Place = tuple[int, object]
Scores = Mapping[Place, float | None]


@dataclass(frozen=True)
class GradedSample:
    """The verdict on the output of one model for a test with one of its prompts."""

    test: int
    prompt: str
    graded: GradedTest


@dataclass(frozen=True)
class Intervals:
    """The settings of all intervals of an evaluation."""

    resamples: int
    confidence: float
    seed: int


def suite_figures(
    graded: Mapping[str, Sequence[GradedSample]], *, candidate: str, others: Sequence[str], intervals: Intervals
) -> dict[str, Any]:
    """Returns the counts and the pass share of each model, the differences of the candidate to the others, and those
    of its metrics.
    """
    passed = {model: _passed(samples) for model, samples in graded.items()}
    reasons = {model: _most_frequent_reason(samples) for model, samples in graded.items()}
    metrics = {model: _metric_scores(samples) for model, samples in graded.items()}
    figures: dict[str, Any] = {
        model: {**_counts(samples), "pass_share": _share(passed[model], reasons[model], intervals)}
        for model, samples in graded.items()
    }
    for other in others:
        figures[f"difference_to_{other}"] = _difference(passed[candidate], passed[other], intervals)
    figures["metrics"] = {
        metric: {
            candidate: _share(scores, reasons[candidate], intervals),
            **{
                f"difference_to_{other}": _difference(scores, metrics[other].get(metric, {}), intervals)
                for other in others
            },
        }
        for metric, scores in sorted(metrics[candidate].items())
    }
    figures["undecided_reason"] = next((reason for reason in reasons.values() if reason is not None), None)
    return figures


def _passed(samples: Sequence[GradedSample]) -> Scores:
    values = {"passed": 1.0, "failed": 0.0, "undecided": None}
    return {(sample.test, sample.prompt): values[sample.graded.graded.verdict] for sample in samples}


def _metric_scores(samples: Sequence[GradedSample]) -> dict[str, dict[Place, float | None]]:
    by_metric: dict[str, dict[Place, float | None]] = {}
    for sample in samples:
        for number, (metric, score) in enumerate(scores_by_metric(sample.graded.assertions)):
            by_metric.setdefault(metric, {})[sample.test, (sample.prompt, number)] = score
    return by_metric


def _counts(samples: Sequence[GradedSample]) -> dict[str, int]:
    counts = Counter(sample.graded.graded.verdict for sample in samples)
    return {verdict: counts[verdict] for verdict in ("passed", "failed", "undecided")}


def _most_frequent_reason(samples: Sequence[GradedSample]) -> str | None:
    graded = (sample.graded.graded for sample in samples)
    reasons = Counter(verdict.reason for verdict in graded if verdict.verdict == "undecided")
    return reasons.most_common(1)[0][0] if reasons else None


def _share(scores: Scores, reason: str | None, intervals: Intervals) -> dict[str, Any]:
    """Returns the mean over the tests with Wilson's interval, which is not a point if all tests passed.

    It takes each test as one trial; scores between 0 and 1 vary less than that, so the interval is never too narrow.
    """
    means = _means(scores)
    tests = len(means)
    total = fsum(means.values())
    interval = wilson(total, tests, intervals.confidence)
    if interval is None:
        return {"value": None, "low": None, "high": None, "groups": 0, "reason": f"no test was decided: {reason}"}
    return {"value": total / tests, "low": interval[0], "high": interval[1], "groups": tests}


def _difference(first: Scores, second: Scores, intervals: Intervals) -> dict[str, Any]:
    """Returns the mean difference over the tests, by bootstrap over tests, on samples that both models decided."""
    both = {place for place, score in first.items() if score is not None and second.get(place) is not None}
    first_means = _means({place: first[place] for place in both})
    second_means = _means({place: second[place] for place in both})
    tests = sorted(first_means)
    first_N, second_N = (_array(means, tests) for means in (first_means, second_means))
    over_tests = Bootstrap(
        np.arange(len(tests)), np.ones(len(tests)), intervals.resamples, intervals.confidence, intervals.seed
    )
    compared = paired_difference(over_tests, first_N, second_N)
    figure = {name: compared[name] for name in ("value", "low", "high", "groups")}
    return figure if tests else {**figure, "reason": "no test was decided for both models"}


def _means(scores: Scores) -> dict[int, float]:
    """Returns the mean of the known scores of each test that has one."""
    by_test: dict[int, list[float]] = {}
    for (test, _), score in scores.items():
        if score is not None:
            by_test.setdefault(test, []).append(score)
    return {test: fsum(known) / len(known) for test, known in by_test.items()}


def _array(means: Mapping[int, float], tests: Sequence[int]) -> NDArray[Any]:
    return np.array([means.get(test, nan) for test in tests], dtype=float)
