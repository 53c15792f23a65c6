"""Compares the votes on two releases: a canary with what is live beside it, a live release with the one before. Pure.

An actor's votes depend on each other, so an actor is one value: the mean of the votes in the arm. The interval is valid
at any time, as it is looked at again and again: see `statistics.confidence_sequence`.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from thumbwheel import wire

from app.monitoring.approval.collect import Arm, ArmVotes
from app.releases.periods import Period
from app.statistics.confidence_sequence import share_difference_at_any_time

CONFIDENCE = 0.95
#: Votes on a release before that are older, counted from its end, say little about what it would get now.
LOOKED_BACK = timedelta(days=30)


class ComparedReleases(NamedTuple):
    kind: Literal["canary", "before"]
    release: Arm
    other: Arm


def pairs(periods: Sequence[Period]) -> list[ComparedReleases]:
    """Returns the comparison of the newest canary, and that of the live release, as far as there are any."""
    found = []
    known = {period.number: period for period in periods}
    canary = next((period for period in reversed(periods) if period.action == "canary"), None)
    if canary is not None and canary.before in known:
        beside = known[canary.before]
        found.append(
            ComparedReleases(
                "canary", _arm(canary), Arm(beside.number, str(beside.checkpoint_id), canary.begins, canary.ends)
            )
        )
    live = next((period for period in reversed(periods) if period.action != "canary"), None)
    if live is not None and live.before in known:
        before = known[live.before]
        begins = max(before.begins, live.begins - LOOKED_BACK)
        found.append(
            ComparedReleases("before", _arm(live), Arm(before.number, str(before.checkpoint_id), begins, live.begins))
        )
    return found


def document(pair: ComparedReleases, release: ArmVotes, other: ArmVotes) -> dict[str, Any]:
    """Returns a comparison as it is stored, for any confidence."""
    sides = {"release": (pair.release, release), "other": (pair.other, other)}
    return {
        "kind": pair.kind,
        **{
            side: {
                "release_number": arm.number,
                "checkpoint_id": arm.checkpoint_id,
                "since": arm.begins.isoformat(),
                "until": None if arm.ends is None else arm.ends.isoformat(),
                "votes": votes.votes,
                "actors": votes.actors,
                "total": votes.total,
            }
            for side, (arm, votes) in sides.items()
        },
    }


def comparison(stored: Mapping[str, Any], confidence: float = CONFIDENCE) -> wire.ReleaseComparison:
    """Returns a stored comparison with its interval."""
    release, other = stored["release"], stored["other"]
    low, high = share_difference_at_any_time(
        release["total"], release["actors"], other["total"], other["actors"], 1 - confidence
    )
    first, second = _approval(release), _approval(other)
    return wire.ReleaseComparison(
        kind=stored["kind"],
        release=wire.ReleaseArm(**_without_total(release), approval=first),
        other=wire.ReleaseArm(**_without_total(other), approval=second),
        confidence=confidence,
        difference=None if first is None or second is None else first - second,
        low=low,
        high=high,
    )


def _arm(period: Period) -> Arm:
    return Arm(period.number, str(period.checkpoint_id), period.begins, period.ends)


def _approval(side: Mapping[str, Any]) -> float | None:
    return side["total"] / side["actors"] if side["actors"] else None


def _without_total(side: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in side.items() if name != "total"}
