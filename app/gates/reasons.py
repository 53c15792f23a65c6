"""Writes the reasons of undecided and refused rules: figure, bound and remedy. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thumbwheel import wire

from app.gates.figures import ScoreFigure, count_of, section_of
from app.gates.metrics import Metric, Unit
from app.statistics.non_inferiority import groups_to_pass
from app.statistics.power import enough_groups, standard_error_of_interval

if TYPE_CHECKING:
    from app.gates.decide import Evaluated

OTHERS = {"shipped": "the shipped model", "ancestor": "the base model", "dumb_readers": "the best dumb reader"}
#: How to get more groups.
MORE: Mapping[Unit, str] = {
    "held-out prompts": "collect more feedback, or raise snapshot.holdout_share",
    "sampled prompts": "have the evaluation sample more prompts",
    "tests": "add tests to the suite",
    "judged prompts": "have the judge compare more prompts",
    "replayed answers": "raise evaluation.replay, or collect more feedback",
    "judged answers": "raise evaluation.replay and the judge's budget",
}
#: What to do about a missing figure.
UNKNOWN: Mapping[Unit, str] = {
    "held-out prompts": "collect feedback of both classes",
    "sampled prompts": "have the evaluation sample prompts",
    "tests": "let the run have this suite, or remove the rule",
    "judged prompts": "configure a judge, or remove the rule",
    "replayed answers": "raise evaluation.replay, and collect feedback of both classes",
    "judged answers": "configure a judge and raise its budget, or remove the rule",
}


@dataclass(frozen=True)
class Enough:
    """A number of groups that would probably decide a rule, and the assumption behind it."""

    groups: int
    assumption: str


def enough_groups_of(item: "Evaluated") -> Enough | None:
    """Returns the number of groups that would probably decide a rule whose interval reaches across a bound.

    The candidate is assumed to equal what it is compared with, if that passes; otherwise the figure is assumed to stay.
    The chance is 80 %, by the minimum detectable difference of `app.statistics.power`. None if nothing is known.
    """
    metric, rule, figure = item.metric, item.rule, item.figure
    if item.needed:
        return Enough(item.needed, "")
    if figure.value is None or figure.low is None or figure.high is None or not figure.groups:
        return None
    smallest = rule.at_least if rule.above is None else rule.above
    bounds = {name: bound for name, bound in (("at_least", smallest), ("at_most", rule.at_most)) if bound is not None}
    expected = [(figure.value, "if the figure stays as it is")]
    if rule.compared_with in ("shipped", "ancestor"):
        equal = f"if the candidate equals {OTHERS[rule.compared_with]}"
        expected.insert(0, (metric.neutral, equal))
    for value, assumption in expected:
        groups = groups_to_pass(
            figure.low, figure.high, figure.groups, expected=value, confidence=item.confidence, **bounds
        )
        if groups is not None and groups > figure.groups:
            return Enough(groups, assumption)
    # The figure breaks a bound, though not surely: the groups that would show it.
    distance = min(abs(bound - figure.value) for bound in bounds.values())
    error = standard_error_of_interval(figure.low, figure.high, item.confidence)
    shown = enough_groups(distance, error, figure.groups, alpha=1 - item.confidence)
    return Enough(shown, "if the figure stays as it is") if shown is not None and shown > figure.groups else None


def reason_of(item: "Evaluated", enough: Enough | None, *, too_far: bool) -> str | None:
    """Returns the reason of a rule that did not pass: its name, the figure, the bound and the remedy."""
    if item.verdict == "passed":
        return None
    figure, rule, metric = item.figure, item.rule, item.metric
    subject = f"{item.name}: {_subject(metric, rule.compared_with, item.context)}"
    bound = f"it must be {bound_in_words(rule)}"
    if not figure.known:
        return f"{subject} is unknown ({_cause(figure, metric)}), {bound}: {UNKNOWN[metric.unit]}"
    shown = f"{subject} is {_shown(item)}, {bound}"
    if item.verdict == "refused":
        return f"{shown}: {_remedy(item, too_far=too_far)}"
    have = f"{figure.groups:,} {metric.unit}" if figure.groups is not None else f"an unknown number of {metric.unit}"
    if item.needed:
        return f"{shown}, and {have} decide nothing, {item.needed:,} are needed: {MORE[metric.unit]}"
    across = f"{shown}, and the interval reaches across that bound with {have}"
    more = MORE[metric.unit] + _harder(item, too_far=too_far)
    if enough is None:
        return f"{across}: {more}"
    return f"{across}: about {enough.groups:,} would decide it {enough.assumption}: {more}"


def too_few(name: str, what: str, have: int | None, need: int) -> str:
    """Returns the reason of a holdout that is smaller than the minimum."""
    count = "an unknown number of" if have is None else f"{have:,}"
    return f"{name}: {count} {what} were held out, {need:,} are needed: {MORE['held-out prompts']}"


def bound_in_words(rule: wire.GateRule | wire.SuiteRule | wire.RuleDecision) -> str:
    """Returns the bounds of a rule, such as "0.87 to 1.15" or "above 0.5"."""
    smallest = rule.at_least if rule.above is None else rule.above
    if smallest is not None and rule.at_most is not None:
        return f"{'above ' if rule.above is not None else ''}{smallest:g} to {rule.at_most:g}"
    if smallest is None:
        return f"at most {rule.at_most:g}"
    return f"above {smallest:g}" if rule.above is not None else f"at least {smallest:g}"


def context_of(rule: wire.GateRule, scores: Mapping[str, Any]) -> str:
    """Returns what a sentence about the figure adds: the best dumb reader, or the lengths behind a ratio."""
    if rule.compared_with == "dumb_readers":
        best = section_of(scores, ("dumb_readers", "best"))
        return f" ({str(best).replace('_', ' ')})" if best else ""
    if rule.metric == "length.ratio":
        after, before = (
            count_of(section_of(scores, ("length", name))) for name in ("candidate_median", "reference_median")
        )
        return f" ({after} tokens, the reference's {before})" if after is not None and before is not None else ""
    return ""


def _subject(metric: Metric, compared_with: wire.Comparison, context: str) -> str:
    if compared_with == "absolute":
        return metric.meaning + context
    other = OTHERS[compared_with]
    if metric.ranges[compared_with] == (-1.0, 1.0):
        return f"the difference of {metric.meaning} from that of {other}{context}"
    return f"{metric.meaning} against {other}{context}"


def _cause(figure: ScoreFigure, metric: Metric) -> str:
    if figure.groups == 0:
        return f"it rests on no {metric.unit}"
    return figure.missing or "the scores have no such figure"


def _shown(item: "Evaluated") -> str:
    figure = item.figure
    assert figure.value is not None
    assert figure.low is not None
    assert figure.high is not None
    if not item.metric.interval:
        return _number(figure.value)
    interval = f"{item.confidence * 100:g} % interval {_number(figure.low)} to {_number(figure.high)}"
    return f"{_number(figure.value)} ({interval})"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def _remedy(item: "Evaluated", *, too_far: bool) -> str:
    metric, rule = item.metric, item.rule
    return metric.remedies.get(rule.compared_with, metric.remedy) + _harder(item, too_far=too_far)


def _harder(item: "Evaluated", *, too_far: bool) -> str:
    if item.metric.learnt and item.rule.compared_with == "absolute" and not too_far:
        return ", or train longer or with a higher learning rate"
    return ""
