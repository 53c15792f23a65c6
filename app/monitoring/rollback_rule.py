"""Decides whether a release goes because users like it less than another one. Pure.

    a canary            ends if the interval of (its approval − that of what is live beside it) lies below −margin
    a live release      is taken back, after its grace, if its interval against the release before lies there

While there is a canary, only the canary is judged. A release that a rollback or a new base model made live is never
taken back. After an automatic decision nothing happens until somebody ships, so that no release is judged twice, and
the ledger never goes to and fro.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite

from thumbwheel import wire

from app.releases.periods import Period

#: Changes with the rule itself: an entry of the ledger names the rule that wrote it.
VERSION = 1


@dataclass(frozen=True)
class Facts:
    """The facts that a decision rests on.

    period      of the canary, or of the live release without one
    automatic   number of the newest entry that the rule wrote, 0 without one
    shipped     number of the newest entry with which somebody shipped: a canary, to all, or another base model
    newest      number of the newest entry of the ledger
    read        the newest entry when votes were last read; None before the first reading
    comparison  of that release with what it is judged against; None if there is none
    """

    period: Period
    automatic: int
    shipped: int
    newest: int
    read: int | None
    comparison: wire.ReleaseComparison | None
    watermark: int
    at: datetime


def decide(policy: wire.RollbackRules, facts: Facts) -> wire.RollbackDecision:
    """Returns the decision with its reason and figures. Whatever is missing or no number keeps the release."""
    reason = _waits(policy, facts)
    if reason is not None:
        return _decision(policy, facts, "keep", reason)
    comparison = facts.comparison
    assert comparison is not None
    worse = f"approval {_signed(comparison.low)} to {_signed(comparison.high)} against release "
    worse += f"{comparison.other.release_number}, with {comparison.confidence:.0%} confidence at any time"
    if not comparison.high < -policy.margin:
        return _decision(policy, facts, "keep", f"{worse}; it goes once all of that is below −{policy.margin:g}")
    action = "end_canary" if facts.period.action == "canary" else "roll_back"
    return _decision(policy, facts, action, f"release {facts.period.number} is worse: {worse}")


def facts_of(
    ledger: Sequence[wire.Release],
    periods: Sequence[Period],
    *,
    read: int | None,
    comparisons: Sequence[wire.ReleaseComparison],
    watermark: int,
    at: datetime,
) -> Facts:
    """Returns the facts from the entries of the ledger, oldest first, and the comparisons that were last read."""
    period = next(period for period in reversed(periods) if period.ends is None)
    own = [item for item in comparisons if item.release.release_number == period.number]
    return Facts(
        period=period,
        automatic=max((entry.number for entry in ledger if entry.decision is not None), default=0),
        shipped=max((entry.number for entry in ledger if entry.action in ("start", "ship", "canary")), default=0),
        newest=ledger[-1].number,
        read=read,
        comparison=next((item for item in own if item.other.release_number == period.before), None),
        watermark=watermark,
        at=at,
    )


def _waits(policy: wire.RollbackRules, facts: Facts) -> str | None:
    """Returns the reason for which the release is not judged yet, or never."""
    period = facts.period
    if facts.automatic > facts.shipped:
        return f"release {facts.automatic} was automatic: nothing more happens automatically until somebody ships"
    if period.action not in ("canary", "ship"):
        what = "a rollback" if period.action == "rollback" else "a base model"
        return f"the live release is {what}, which is never taken back automatically"
    hours = (facts.at - period.begins).total_seconds() / 3600
    if period.action == "ship" and not hours >= policy.grace_hours:
        return f"release {period.number} is live for {hours:.1f} of {policy.grace_hours:g} hours of grace"
    if facts.read != facts.newest:
        return f"the votes since release {facts.newest} have not been read yet"
    comparison = facts.comparison
    if comparison is None:
        return f"there is no release to compare release {period.number} with"
    for arm in (comparison.release, comparison.other):
        if not arm.votes >= policy.minimum_labels:
            return f"{arm.votes} of {policy.minimum_labels} votes on release {arm.release_number}"
    if not (isfinite(comparison.low) and isfinite(comparison.high)):
        return "the interval of the difference is no number"
    return None


def _decision(policy: wire.RollbackRules, facts: Facts, action: str, reason: str) -> wire.RollbackDecision:
    document = {"rule": VERSION, "policy": policy.model_dump(mode="json")}
    sha256 = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    figures = wire.RollbackFigures(
        rule_version=VERSION,
        rule_sha256=sha256,
        policy=policy,
        comparison=facts.comparison,
        watermark=facts.watermark,
    )
    return wire.RollbackDecision.model_validate({"action": action, "reason": reason, "figures": figures})


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
