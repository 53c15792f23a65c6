"""Decides by gates whether a checkpoint may ship: passed, refused or undecided. Pure.

    passed      the whole interval of every figure keeps its bounds
    refused     the whole interval of a figure breaks a bound, or the trainer found what the gates refuse
    undecided   neither: an interval reaches across a bound, a figure is missing, NaN or infinite, or the holdout is
                smaller than the minimum

A figure that rests on fewer groups than the minimum refuses nothing. If it counts its own groups, as those of samples
do, it passes nothing either; for held-out figures the minimum itself is then undecided.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, nextafter
from typing import Any

from thumbwheel import wire
from thumbwheel.wire.gates import EVERY_SUITE, RuleDecision, RuleVerdict

from app.gates import reasons
from app.gates.documents import name_of, name_of_suite_rule
from app.gates.figures import ScoreFigure, confidence_of, count_of, figure_of, section_of, with_confidence
from app.gates.metrics import METRICS, SUITE, Metric
from app.statistics.non_inferiority import verdict

#: The verdict of a checkpoint is the worst of its rules'.
WORST_FIRST: Sequence[RuleVerdict] = ("refused", "undecided", "passed")


@dataclass(frozen=True)
class GatesDecision:
    """The verdict of the gates, its reasons (refusals first), and the decision of each rule."""

    verdict: RuleVerdict
    reasons: list[str]
    rules: list[RuleDecision]


def decide(gates: wire.GateDocument, scores: Mapping[str, Any], training: Mapping[str, Any]) -> GatesDecision:
    """Returns the decision of the gates on a checkpoint.

    scores     the figures of worker/evaluation/score.py, with those of suites and judge as `suites` and `judge`
    training   the trainer's summary, with its findings after the last step

    No remedy raises the learning rate if another reason shows that the policy is too far from the reference.
    """
    evaluated = [*_by_rules(gates, scores), *_by_suites(gates, scores)]
    counts, findings = list(_by_minimum(gates.minimum, scores)), list(_by_findings(gates.findings, training))
    too_far = any(item.shows_too_far for item in evaluated) or any(row.verdict != "passed" for row in findings)
    rules = [*counts, *(item.row(too_far=too_far) for item in evaluated), *findings]
    verdicts = {row.verdict for row in rules}
    return GatesDecision(
        verdict=next((worst for worst in WORST_FIRST if worst in verdicts), "undecided"),
        reasons=[row.reason for worst in WORST_FIRST for row in rules if row.verdict == worst and row.reason],
        rules=rules,
    )


@dataclass(frozen=True)
class Evaluated:
    """A rule with its figure and its verdict."""

    name: str
    label: str  # the metric as the document names it
    rule: wire.GateRule | wire.SuiteRule
    metric: Metric
    figure: ScoreFigure
    confidence: float  # of the figure's interval
    verdict: RuleVerdict
    context: str = ""  # what a sentence about the figure adds
    needed: int = 0  # groups that the minimum demands, if there are too few

    @property
    def shows_too_far(self) -> bool:
        return self.metric.too_far and self.verdict != "passed"

    def row(self, *, too_far: bool) -> RuleDecision:
        rule, figure = self.rule, self.figure
        enough = reasons.enough_groups_of(self) if self.verdict == "undecided" and figure.known else None
        return RuleDecision(
            rule=self.name,
            metric=self.label,
            compared_with=rule.compared_with,
            at_least=rule.at_least,
            at_most=rule.at_most,
            above=rule.above,
            confidence=self.confidence if self.metric.interval else None,
            value=figure.value,
            low=figure.low,
            high=figure.high,
            groups=figure.groups,
            enough_groups=enough.groups if enough else None,
            verdict=self.verdict,
            reason=reasons.reason_of(self, enough, too_far=too_far),
        )


def bounds_of(rule: wire.GateRule | wire.SuiteRule) -> tuple[float, float]:
    """Returns the smallest and the largest figure that pass."""
    low = -inf if rule.at_least is None else rule.at_least
    if rule.above is not None:
        low = nextafter(rule.above, inf)
    return low, inf if rule.at_most is None else rule.at_most


def _by_rules(gates: wire.GateDocument, scores: Mapping[str, Any]) -> Iterator[Evaluated]:
    for rule in gates.rules:
        metric = METRICS[rule.metric]
        groups = None if metric.groups is None else count_of(section_of(scores, metric.groups))
        section = section_of(scores, metric.readings[rule.compared_with])
        figure = figure_of(section, groups, interval=metric.interval)
        item = _evaluated(name_of(rule), rule.metric, rule, metric, figure, scores)
        yield replace(_of_enough_groups(item, gates.minimum), context=reasons.context_of(rule, scores))


def _by_suites(gates: wire.GateDocument, scores: Mapping[str, Any]) -> Iterator[Evaluated]:
    suites = scores.get("suites")
    suites = suites if isinstance(suites, Mapping) else {}
    named = {rule.suite for rule in gates.suites}
    for rule in gates.suites:
        of_rule = [rule.suite] if rule.suite != EVERY_SUITE else [name for name in suites if name not in named]
        if rule.suite == EVERY_SUITE and not suites:
            of_rule = [EVERY_SUITE]
        for name in of_rule:
            suite = suites.get(name)
            suite = suite if isinstance(suite, Mapping) else {}
            figure = figure_of(_section_of_suite(suite, rule), count_of(suite.get("tests")))
            cause = suite.get("undecided_reason")
            if not suite:
                cause = "the run had no suites" if rule.suite == EVERY_SUITE else "the run did not have this suite"
            if cause:
                figure = ScoreFigure(None, None, None, figure.groups, str(cause))
            metric = replace(SUITE, meaning=f"{rule.metric or 'the pass share'} of suite {name}")
            rule_name = name_of_suite_rule(rule, name)
            yield _evaluated(rule_name, rule_name.partition(":")[0], rule, metric, figure, scores)


def _section_of_suite(suite: Mapping[str, Any], rule: wire.SuiteRule) -> Any:
    place: Any = suite if rule.metric is None else section_of(suite, ("metrics", rule.metric))
    if rule.compared_with != "absolute":
        return section_of(place or {}, (f"difference_to_{rule.compared_with}",))
    return section_of(place or {}, ("candidate",) if rule.metric else ("candidate", "pass_share"))


def _evaluated(
    name: str,
    label: str,
    rule: wire.GateRule | wire.SuiteRule,
    metric: Metric,
    figure: ScoreFigure,
    scores: Mapping[str, Any],
) -> Evaluated:
    of_scores = confidence_of(scores)
    confidence = of_scores if rule.confidence is None else rule.confidence
    if metric.interval:
        figure = with_confidence(figure, of_scores, confidence)
    at_least, at_most = bounds_of(rule)
    decided: RuleVerdict = "undecided"
    if figure.known:
        decided = verdict(figure.low, figure.high, at_least=at_least, at_most=at_most)
    return Evaluated(name, label, rule, metric, figure, confidence, decided)


def _of_enough_groups(item: Evaluated, minimum: wire.GateMinimum) -> Evaluated:
    """Returns the rule undecided if its figure rests on fewer groups than the minimum: see the top of this file."""
    own = item.metric.groups is None
    groups = item.figure.groups or 0
    too_few = groups < minimum.groups and (own or item.figure.groups is not None)
    if not too_few or not item.figure.known or (item.verdict == "passed" and not own):
        return item
    return replace(item, verdict="undecided", needed=minimum.groups)


def _by_minimum(minimum: wire.GateMinimum, scores: Mapping[str, Any]) -> Iterator[RuleDecision]:
    for name, what, need in (
        ("rows", "rows", minimum.rows),
        ("groups", "prompts", minimum.groups),
        ("rows_desirable", "desirable rows", minimum.rows_of_each_class),
        ("rows_undesirable", "undesirable rows", minimum.rows_of_each_class),
    ):
        if need == 0:
            continue
        have = count_of(scores.get(name))
        enough = have is not None and have >= need
        yield RuleDecision(
            rule=name,
            metric=name,
            compared_with="absolute",
            at_least=need,
            value=have,
            groups=have if name == "groups" else None,
            enough_groups=need if name == "groups" and not enough else None,
            verdict="passed" if enough else "undecided",
            reason=None if enough else reasons.too_few(name, what, have, need),
        )


def _by_findings(rules: wire.FindingRules, training: Mapping[str, Any]) -> Iterator[RuleDecision]:
    if not rules.refused and not rules.errors:
        return
    findings = training.get("findings")
    if not isinstance(findings, Sequence):
        yield _finding("findings", "undecided", "the trainer's findings after its last step are unknown: train again")
        return
    open_findings = []
    for finding in findings:
        code, message = str(finding.get("code")), str(finding.get("message"))
        severity = finding.get("severity")
        if code in rules.refused or (rules.errors and severity == "error"):
            open_findings.append(_finding(code, "refused", message))
        elif rules.errors and severity is None:
            open_findings.append(_finding(code, "undecided", f"its severity is unknown: train again ({message})"))
    yield from open_findings or [_finding("findings", "passed", None)]


def _finding(code: str, decided: RuleVerdict, message: str | None) -> RuleDecision:
    reason = None if message is None else f"{code}: {message}"
    return RuleDecision(rule=code, metric="findings", compared_with="absolute", verdict=decided, reason=reason)
