"""Turns one signal on a completion into a verdict, by a label policy. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from thumbwheel import wire
from thumbwheel.wire.policies import Says, SaysUnless

from app.labels.edits import Severity

THOUSANDTHS = 1000
#: The reasons of verdicts that rest on an edit.
EDIT_REASONS = ("edit_unchanged", "edit_cosmetic", "edit_substantive", "edit_rewritten")


@dataclass(frozen=True)
class Context:
    """The facts that a resolution needs in addition to the signals of one completion.

    as_of          the newest moment of the log, which decides whether a window is over
    rating_median  the median rating on a scale of 0 to 1, if the policy's thresholds use it; None for too few ratings
    """

    as_of: datetime
    rating_median: float | None = None


class SignalVerdict(NamedTuple):
    rank: int  # 0 is the most explicit
    desirable: bool
    weight: int  # in thousandths
    reason: str
    unless: str | None = None  # a kind of signal that cancels the verdict
    within: timedelta = timedelta()  # if it follows within this time


def preference_in(body: Mapping[str, Any]) -> int | None:
    """Returns the side that a signal's body prefers: see `Signal.preference`."""
    match body["kind"]:
        case "preference":
            return 0 if body.get("tie") else 1
        case "not_preferred":
            return -1
        case "even":
            return 0
        case _:
            return None


def of_edit(policy: wire.LabelPolicy, severity: Severity) -> SignalVerdict | None:
    """Returns the verdict of an edit of this severity on the original, None if the policy gives none."""
    rule = policy.signals.edit
    match severity:
        case "unchanged":
            return _says(policy, "edit", rule.unchanged, "edit_unchanged")
        case "cosmetic":
            return _says(policy, "edit", rule.cosmetic, "edit_cosmetic")
        case "substantive":
            return _says(policy, "edit", rule.substantive, "edit_substantive")
        case "rewrite":
            return _says(policy, "edit", rule.rewrite, "edit_rewritten")


def of_signal(policy: wire.LabelPolicy, body: Mapping[str, Any], context: Context) -> SignalVerdict | None:
    """Returns the verdict of a signal other than an edit, None if the policy gives none."""
    rules = policy.signals
    match body["kind"]:
        case "thumbs" if body["value"] == "up":
            return _says(policy, "thumbs", rules.thumbs.up, "thumbs_up")
        case "thumbs":
            return _says(policy, "thumbs", rules.thumbs.down, "thumbs_down")
        case "rating":
            return _of_rating(policy, place(body), context)
        case "preference":
            return None if body.get("tie") else _says(policy, "preference", rules.preference.preferred, "preferred")
        case "not_preferred":
            return _says(policy, "preference", rules.preference.not_preferred, "not_preferred")
        case "flag":
            return _of_flags(policy, body["flags"])
        case "outcome":
            return _of_outcome(policy, body["name"], is_true=body["value"])
        case "accept" | "reject" | "copy" | "regenerate" | "escalate" | "reopen" | "resolve" as kind:
            says: SaysUnless | None = getattr(rules, "copy_" if kind == "copy" else kind)
            return _says(policy, "implicit", says, kind)
        case _:
            return None


def place(rating: Mapping[str, Any]) -> float:
    """Returns the rating on a scale from 0, its lowest value, to 1, its highest."""
    minimum, maximum = rating.get("minimum", 1), rating.get("maximum", 5)
    return float((rating["value"] - minimum) / (maximum - minimum))


def rewrite_weight(rule: wire.EditRule, severity: Severity) -> float | None:
    """Returns the weight of the edited text as a row of its own; None if it makes no row."""
    return {"rewrite": rule.rewritten_text, "substantive": rule.substantive_text}.get(severity)


def _of_rating(policy: wire.LabelPolicy, place: float, context: Context) -> SignalVerdict | None:
    rule = policy.signals.rating
    if rule.thresholds.kind == "fixed":
        high, low = place >= rule.thresholds.desirable_from, place <= rule.thresholds.undesirable_to
    elif context.rating_median is None:
        return None
    else:
        high, low = place > context.rating_median, place < context.rating_median
    if high:
        return _says(policy, "rating", rule.high, "rating_high")
    return _says(policy, "rating", rule.low, "rating_low") if low else None


def _of_flags(policy: wire.LabelPolicy, flags: Sequence[str]) -> SignalVerdict | None:
    """Returns the heaviest verdict among the tiers of these flags."""
    verdicts = [
        verdict
        for name, tier in policy.signals.flag.items()
        if not set(tier.flags).isdisjoint(flags)
        and (verdict := _says(policy, "flag", tier.says, f"flag_{name}")) is not None
    ]
    return min(verdicts, key=heaviest_first, default=None)


def _of_outcome(policy: wire.LabelPolicy, name: str, *, is_true: bool) -> SignalVerdict | None:
    rule = policy.signals.outcome.get(name)
    if rule is None:
        return None
    return _says(policy, "outcome", rule.true if is_true else rule.false, f"outcome_{name}_{str(is_true).lower()}")


def _says(policy: wire.LabelPolicy, group: str, says: Says | None, reason: str) -> SignalVerdict | None:
    if says is None:
        return None
    rank = [str(name) for name in policy.precedence].index(group)
    verdict = SignalVerdict(rank, says.label == "desirable", round(says.weight * THOUSANDTHS), reason)
    if isinstance(says, SaysUnless) and says.unless is not None:
        return verdict._replace(unless=says.unless, within=timedelta(hours=says.within_hours))
    return verdict


def heaviest_first(verdict: SignalVerdict) -> tuple[int, int, str]:
    return -verdict.weight, verdict.rank, verdict.reason
