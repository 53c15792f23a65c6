"""Judges an output by all assertions of a test, with promptfoo's weights and thresholds. Pure.

Without a threshold a test passes if all its assertions pass. With one it passes if the weighted mean of their scores
reaches it. An assertion of weight 0 decides nothing. An undecided part may still have any score: the test is decided
only if its verdict is the same for all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from thumbwheel.wire.suites import AnyAssertion, Assertion, AssertionSet, SuiteTest, Variable

from app.suites.assertions import (
    NO_EVIDENCE,
    Evidence,
    Graded,
    JudgeTask,
    Verdict,
    grade,
    judge_task,
    texts_to_embed,
    undecided,
)


@dataclass(frozen=True)
class GradedAssertion:
    """The verdict on an output by one assertion, or by a set, whose `parts` are its assertions."""

    assertion: AnyAssertion
    graded: Graded
    parts: tuple["GradedAssertion", ...] = ()


@dataclass(frozen=True)
class GradedTest:
    graded: Graded
    assertions: tuple[GradedAssertion, ...] = ()


def grade_test(test: SuiteTest, output: str, evidence: Evidence = NO_EVIDENCE) -> GradedTest:
    """Returns the verdict on an output with those of the test's assertions."""
    parts = tuple(_grade_any(assertion, output, test.vars, evidence) for assertion in test.assertions)
    return GradedTest(_combined(parts, test.threshold), parts)


def undecided_test(test: SuiteTest, reason: str) -> GradedTest:
    """Returns the verdict on an output that could not be had: it and all assertions are undecided."""
    graded = undecided(reason)
    parts = tuple(
        GradedAssertion(
            assertion,
            graded,
            tuple(GradedAssertion(item, graded) for item in assertion.assertions)
            if isinstance(assertion, AssertionSet)
            else (),
        )
        for assertion in test.assertions
    )
    return GradedTest(graded, parts)


def texts_to_embed_of(test: SuiteTest, output: str) -> list[str]:
    """Returns the texts whose embeddings the test needs, each once."""
    texts = (text for single in singles(test) for text in texts_to_embed(single, output, test.vars))
    return list(dict.fromkeys(texts))


def judge_tasks_of(test: SuiteTest, output: str) -> list[JudgeTask]:
    """Returns what a judge has to decide for the test, each once."""
    tasks = (judge_task(single, output, test.vars) for single in singles(test))
    return list(dict.fromkeys(task for task in tasks if task is not None))


def singles(test: SuiteTest) -> Iterator[Assertion]:
    """Yields the assertions of a test, also those within sets."""
    for assertion in test.assertions:
        if isinstance(assertion, AssertionSet):
            yield from assertion.assertions
        else:
            yield assertion


def scores_by_metric(assertions: Sequence[GradedAssertion]) -> Iterator[tuple[str, float | None]]:
    """Yields metric and score of each assertion that names a metric; None if the score is not known."""
    for item in assertions:
        if item.assertion.metric is not None:
            yield item.assertion.metric, item.graded.score
        yield from scores_by_metric(item.parts)


def _grade_any(
    assertion: AnyAssertion, output: str, variables: Mapping[str, Variable], evidence: Evidence
) -> GradedAssertion:
    if isinstance(assertion, Assertion):
        return GradedAssertion(assertion, grade(assertion, output, variables, evidence))
    parts = tuple(GradedAssertion(item, grade(item, output, variables, evidence)) for item in assertion.assertions)
    return GradedAssertion(assertion, _combined(parts, assertion.threshold), parts)


def _combined(parts: Sequence[GradedAssertion], threshold: float | None) -> Graded:
    deciding = [part for part in parts if part.assertion.weight > 0]
    weight = sum(part.assertion.weight for part in deciding)
    low = sum(part.graded.low * part.assertion.weight for part in deciding) / weight if weight else 0.0
    high = sum(part.graded.high * part.assertion.weight for part in deciding) / weight if weight else 0.0
    if threshold is None:
        return _all_pass(deciding, low, high)
    open_reason = _first_reason(deciding, "undecided")
    if low >= threshold - 1e-9:
        return Graded("passed", low, high, f"the score is at least {low:.2f}, the threshold {threshold:g}")
    if high < threshold - 1e-9:
        return Graded("failed", low, high, f"the score is at most {high:.2f}, the threshold {threshold:g}")
    return Graded("undecided", low, high, open_reason)


def _all_pass(deciding: Sequence[GradedAssertion], low: float, high: float) -> Graded:
    for verdict in ("failed", "undecided"):
        if any(part.graded.verdict == verdict for part in deciding):
            return Graded(verdict, low, high, _first_reason(deciding, verdict))
    return Graded("passed", low, high, "all assertions passed")


def _first_reason(parts: Sequence[GradedAssertion], verdict: Verdict) -> str:
    return next(
        (f"{part.assertion.type}: {part.graded.reason}" for part in parts if part.graded.verdict == verdict), ""
    )
