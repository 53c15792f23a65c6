"""Decides when a run starts automatically. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from thumbwheel import wire


@dataclass(frozen=True)
class TriggerFacts:
    new: wire.ClassCounts  # labels since the last run's watermark
    hours_since_last_run: float | None  # None: there was none
    active: bool
    reasons: Sequence[str] = ()  # why a run could not start now
    undecided: Sequence[str] = ()  # why the gates would not decide about its checkpoint
    last_run_ended_badly: str | None = None  # "failed" or "was cancelled" if the last run did so
    both_classes: bool = True  # whether the recipe's objective learns from undesirable rows too


@dataclass(frozen=True)
class Decision:
    start: bool
    reason: str


def decide(rules: wire.TriggerRules, now: TriggerFacts) -> Decision:
    """Decides whether to start a run, with the reason. Without a rule, none starts.

    "New" counts from the last run, whatever its end: a run that failed is not started again on the same labels.
    """
    if rules.new_per_class is None and rules.every_hours is None:
        return Decision(start=False, reason="not automatically: the project has no trigger. Start runs by API or CLI")
    if now.active:
        return Decision(start=False, reason="not yet: a run is active")
    by_rule = [decision for decision in (_volume(rules, now), _period(rules, now)) if decision is not None]
    due_by = [decision.reason for decision in by_rule if decision.start]
    if not due_by:
        return Decision(start=False, reason="not yet: " + "; ".join(rule.reason for rule in by_rule) + _after(now))
    if now.reasons:
        return Decision(start=False, reason=f"due ({'; '.join(due_by)}), but refused: " + "; ".join(now.reasons))
    if now.undecided:
        waits = "; ".join(now.undecided)
        return Decision(start=False, reason=f"due ({'; '.join(due_by)}), but it waits: {waits}; or start one by hand")
    return Decision(start=True, reason="; ".join(due_by))


def due(rules: wire.TriggerRules, hours_since_last_run: float | None) -> bool:
    """Returns whether the period is over."""
    return rules.every_hours is not None and (hours_since_last_run is None or hours_since_last_run >= rules.every_hours)


def _volume(rules: wire.TriggerRules, now: TriggerFacts) -> Decision | None:
    if rules.new_per_class is None:
        return None
    wanted = rules.new_per_class
    counts = {"desirable": now.new.desirable}
    if now.both_classes:
        counts["undesirable"] = now.new.undesirable
    missing = [f"{count} of {wanted} new {name} labels" for name, count in counts.items() if not count >= wanted]
    if missing:
        return Decision(start=False, reason=", ".join(missing))
    enough = " and ".join(f"{count} new {name}" for name, count in counts.items())
    return Decision(start=True, reason=f"{enough} labels (required: {wanted}{' of each' * now.both_classes})")


def _period(rules: wire.TriggerRules, now: TriggerFacts) -> Decision | None:
    if rules.every_hours is None:
        return None
    hours = now.hours_since_last_run
    if not due(rules, hours):
        return Decision(start=False, reason=f"the period of {rules.every_hours:g} hours since the last run is not over")
    if not now.new.desirable + now.new.undesirable > 0:
        return Decision(start=False, reason="no new label since the last run")
    since = "there was no run yet" if hours is None else f"the last run began over {rules.every_hours:g} hours ago"
    return Decision(start=True, reason=f"{since}, and there are new labels")


def _after(now: TriggerFacts) -> str:
    if now.last_run_ended_badly is None:
        return ""
    return f" (the last run {now.last_run_ended_badly}: start one by hand to use the same labels again)"
