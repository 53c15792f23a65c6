"""Reads gates from documents with all their faults, and writes their canonical form. Pure."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from thumbwheel import wire

from app.errors import Fault, Faults
from app.feedback.signals import parse
from app.gates.metrics import METRICS, SUITE, Metric
from app.gates.presets import PRESETS

#: Names of decisions that no rule may have: those of the minimum and of findings.
RESERVED = ("rows", "groups", "rows_desirable", "rows_undesirable", "findings")


def read(document: Any) -> wire.GateDocument | Faults:
    """Returns the gates of a document, or all faults of the document, each with its JSON pointer and the rule."""
    gates = parse(wire.GateDocument, document)
    if not isinstance(gates, wire.GateDocument):
        return gates
    faults = faults_of(gates)
    return faults or gates


def document_of(choice: wire.GateChoice) -> wire.GateDocument:
    """Returns the document of a preset's name, or the document itself."""
    return PRESETS[choice] if isinstance(choice, str) else choice


def values_of(gates: wire.GateDocument) -> dict[str, Any]:
    """Returns the whole document as JSON values, with the defaults of omitted fields."""
    return gates.model_dump(mode="json")


def sha256_of(gates: wire.GateDocument) -> str:
    """Returns the hash of the canonical JSON: sorted keys, no spaces. Documents are equal if their hashes are."""
    text = json.dumps(values_of(gates), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def kl_budget_of(gates: wire.GateDocument) -> float | None:
    """Returns the smallest upper bound of the drift from the shipped model in nats per token; None without one."""
    drift = {("samples.kl_nats_per_token", "shipped"), ("kl.nats_per_token", "absolute")}
    bounds = [rule.at_most for rule in gates.rules if (rule.metric, rule.compared_with) in drift]
    return min((bound for bound in bounds if bound is not None), default=None)


def adopted(gates: wire.GateDocument, version: int) -> wire.AdoptedGates:
    """Returns the document as a version of a project's gates."""
    return wire.AdoptedGates(version=version, sha256=sha256_of(gates), document=gates)


def name_of(rule: wire.GateRule) -> str:
    """Returns the name of a rule: its own, or the metric and what it is compared with."""
    return rule.name or _qualified(rule.metric, rule.compared_with, "absolute")


def name_of_suite_rule(rule: wire.SuiteRule, suite: str) -> str:
    """Returns the name of a suite rule for a suite of the run."""
    metric = f"/{rule.metric}" if rule.metric else ""
    return _qualified(f"suite:{suite}{metric}", rule.compared_with, "shipped")


def faults_of(gates: wire.GateDocument) -> Faults:
    """Returns what the model of the document cannot check: metrics, comparisons, bounds, and names of rules."""
    faults = list(_faults_of(gates))
    return Faults(faults, len(faults))


def _qualified(name: str, compared_with: str, default: str) -> str:
    return name if compared_with == default else f"{name}:{compared_with}"


def _faults_of(gates: wire.GateDocument) -> Iterator[Fault]:
    findings = gates.findings.refused or gates.findings.errors
    if not gates.rules and not gates.suites and not findings:
        yield Fault("", "has no rule, so every checkpoint would pass: add one to rules, findings or suites")
    names = Counter(name_of(rule) for rule in gates.rules)
    for number, rule in enumerate(gates.rules):
        pointer = f"/rules/{number}"
        if names[name_of(rule)] > 1:
            yield Fault(pointer, f"{name_of(rule)!r} names several rules: give each a name of its own")
        if rule.name in RESERVED or (rule.name or "").startswith("suite:"):
            yield Fault(f"{pointer}/name", f"{rule.name!r} names another part of the gates: choose another name")
        metric = METRICS.get(rule.metric)
        if metric is None:
            yield Fault(f"{pointer}/metric", f"there is no metric {rule.metric!r}: choose one of {', '.join(METRICS)}")
        elif rule.compared_with not in metric.readings:
            allowed = ", ".join(metric.readings)
            yield Fault(f"{pointer}/compared_with", f"{rule.metric} is not compared with that: choose {allowed}")
        else:
            yield from _faults_of_bounds(pointer, rule, metric, rule.compared_with)
    places = Counter(name_of_suite_rule(rule, rule.suite) for rule in gates.suites)
    for number, suite_rule in enumerate(gates.suites):
        pointer = f"/suites/{number}"
        if places[name_of_suite_rule(suite_rule, suite_rule.suite)] > 1:
            yield Fault(pointer, f"suite {suite_rule.suite!r} has this rule twice: leave one out")
        yield from _faults_of_bounds(pointer, suite_rule, SUITE, suite_rule.compared_with)


def _faults_of_bounds(
    pointer: str, rule: wire.GateRule | wire.SuiteRule, metric: Metric, compared_with: wire.Comparison
) -> Iterator[Fault]:
    bounds = {name: getattr(rule, name) for name in ("at_least", "above", "at_most")}
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    if not given:
        yield Fault(pointer, "has no bound: give at_least, at_most or above")
    low, high = metric.ranges[compared_with]
    for name, bound in given.items():
        if not low <= bound <= high:
            yield Fault(f"{pointer}/{name}", f"{bound:g} is outside the range of the figure, {low:g} to {high:g}")
    if "at_least" in given and "above" in given:
        yield Fault(f"{pointer}/above", "is given beside at_least: give one of them")
    smallest = given.get("at_least", given.get("above"))
    if smallest is not None and "at_most" in given and not smallest <= given["at_most"]:
        yield Fault(f"{pointer}/at_most", f"{given['at_most']:g} is below the smallest figure that passes")
