"""Sums up the outcomes of suites: counts, the share that passed with its interval, figures by metric. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

from thumbwheel import wire

from app.statistics.shares import wilson
from app.suites.assertions import Verdict
from app.suites.grading import GradedAssertion, GradedTest, scores_by_metric


@dataclass(frozen=True)
class SampleOutcome:
    """The outcome of one sample: a test with one of its prompts.

    output    what the model wrote; None if no answer could be had, and the test is undecided
    cut_off   whether the output ended because it reached the limit of tokens
    """

    test: int
    description: str
    prompt: str
    output: str | None
    cut_off: bool
    graded: GradedTest

    def document(self) -> dict[str, Any]:
        """Returns the outcome as JSON values."""
        return {
            "test": self.test,
            "description": self.description,
            "prompt": self.prompt,
            "output": self.output,
            "cut_off": self.cut_off,
            "verdict": self.graded.graded.verdict,
            "score": self.graded.graded.score,
            "reason": self.graded.graded.reason,
            "assertions": [_assertion(item) for item in self.graded.assertions],
        }


@dataclass(frozen=True)
class Counts:
    """Numbers of outcomes by their verdict. The share is that of the decided ones; undecided is not failed."""

    passed: int
    failed: int
    undecided: int

    @property
    def share(self) -> float | None:
        """The share of the decided outcomes that passed; None without any."""
        decided = self.passed + self.failed
        return self.passed / decided if decided else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval of the share at 95 % (Wilson); None without a decided outcome."""
        return wilson(self.passed, self.passed + self.failed)

    def document(self) -> dict[str, Any]:
        """Returns the counts as JSON values."""
        return {
            "passed": self.passed, "failed": self.failed, "undecided": self.undecided,
            "pass_share": self.share, "interval": self.interval,
        }  # fmt: skip


@dataclass(frozen=True)
class MetricScore:
    """The mean score of the decided assertions of a metric, None without any, and the numbers of assertions."""

    score: float | None
    decided: int
    undecided: int


@dataclass(frozen=True)
class SuiteReport:
    suite: wire.Suite
    sha256: str
    outcomes: Sequence[SampleOutcome]

    @property
    def counts(self) -> Counts:
        """The numbers of its outcomes by their verdict."""
        return counts_of(self.outcomes)

    def metrics(self) -> dict[str, MetricScore]:
        """Returns the figures of its assertions by their metric."""
        scores: dict[str, list[float | None]] = {}
        for outcome in self.outcomes:
            for metric, score in scores_by_metric(outcome.graded.assertions):
                scores.setdefault(metric, []).append(score)
        return {metric: metric_score(scores[metric]) for metric in sorted(scores)}

    def document(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        return {
            "name": self.suite.name,
            "version": self.suite.version,
            "sha256": self.sha256,
            **self.counts.document(),
            "metrics": {metric: vars(score) for metric, score in self.metrics().items()},
            "outcomes": [outcome.document() for outcome in self.outcomes],
        }


def counts_of(outcomes: Iterable[SampleOutcome]) -> Counts:
    """Returns the numbers of outcomes by their verdict."""
    numbers: dict[Verdict, int] = {"passed": 0, "failed": 0, "undecided": 0}
    for outcome in outcomes:
        numbers[outcome.graded.graded.verdict] += 1
    return Counts(**numbers)


def metric_score(scores: Sequence[float | None]) -> MetricScore:
    """Returns the mean of the known scores, and how many are known and undecided."""
    known = [score for score in scores if score is not None]
    return MetricScore(fsum(known) / len(known) if known else None, len(known), len(scores) - len(known))


def _assertion(item: GradedAssertion) -> Mapping[str, Any]:
    document: dict[str, Any] = {
        "type": item.assertion.type,
        "metric": item.assertion.metric,
        "weight": item.assertion.weight,
        "verdict": item.graded.verdict,
        "score": item.graded.score,
        "reason": item.graded.reason,
    }
    if item.parts:
        document["assert"] = [_assertion(part) for part in item.parts]
    return document
