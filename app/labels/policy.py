"""The default label policy: from the signals of one completion to a label, a weight and the reasons. Pure.

1. Each signal gives a verdict, or none. Explicit verdicts weigh 1, implicit ones less.
2. Of each actor one verdict counts: of the highest kind that they gave (thumbs, then edit, rating, preference,
   implicit), the latest; time first, place in the log where times are equal.
3. The actors' verdicts are added by weight. The heavier side gives the label; equal sides give nothing.
4. The row weighs as much as the heaviest verdict on the winning side.
5. A text that somebody wrote in place of the completion is a desirable row of its own.

The reasons for each number are in docs/decisions/default-label-policy.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from app.labels.edits import severity

POLICY = "default"
POLICY_VERSION = 1

DESIRABLE, UNDESIRABLE = True, False

#: Place on the scale, 0 at its lowest and 1 at its highest value.
RATING_DESIRABLE = 0.85
RATING_UNDESIRABLE = 0.5

Reason = Literal[
    "thumbs_up",
    "thumbs_down",
    "edit_cosmetic",
    "edit_rewritten",
    "edited_text",
    "rating_high",
    "rating_low",
    "preferred",
    "not_preferred",
    "accept",
    "copy",
    "reject",
    "regenerate",
    "tie",
    "no_verdict",
]

#: Not a signal of the wire: the other side of a preference, seen from the completion that was not preferred.
NOT_PREFERRED = "not_preferred"


@dataclass(frozen=True)
class Signal:
    """One signal as the log has it."""

    position: int
    occurred_at: datetime
    actor: str
    body: Mapping[str, Any]  # {"kind": …} as on the wire, or {"kind": NOT_PREFERRED}


class Verdict(NamedTuple):
    rank: int  # 0 is the most explicit
    desirable: bool
    weight: float
    reason: Reason


@dataclass(frozen=True)
class Rewrite:
    """What somebody made of the completion; always desirable."""

    text: str
    position: int
    weight: float = 1.0
    reason: Reason = "edited_text"


@dataclass(frozen=True)
class Resolution:
    """`label` None is nothing, at weight 0. The first reason is the heaviest; the others agreed with it."""

    label: bool | None
    weight: float
    reasons: tuple[Reason, ...]
    rewrites: tuple[Rewrite, ...] = ()


_IMPLICIT: Mapping[str, Verdict] = {
    "accept": Verdict(4, DESIRABLE, 0.5, "accept"),
    "copy": Verdict(4, DESIRABLE, 0.5, "copy"),
    "reject": Verdict(4, UNDESIRABLE, 0.5, "reject"),
    "regenerate": Verdict(4, UNDESIRABLE, 0.25, "regenerate"),
}


def resolve(text: str | None, signals: Sequence[Signal]) -> Resolution:
    """What `signals`, all about one completion, say of it. `text` is what the model wrote, None where unknown."""
    counted = [_of_actor(text, by_one) for by_one in _by_actor(signals)]
    verdicts = [verdict for verdict in counted if verdict is not None]
    rewrites = _rewrites(text, signals)
    if not verdicts:
        return Resolution(None, 0.0, ("no_verdict",), rewrites)
    desirable = sum(verdict.weight for verdict in verdicts if verdict.desirable)
    undesirable = sum(verdict.weight for verdict in verdicts if not verdict.desirable)
    if desirable == undesirable:
        return Resolution(None, 0.0, ("tie",), rewrites)
    label = desirable > undesirable
    winners = sorted((verdict for verdict in verdicts if verdict.desirable is label), key=_heaviest_first)
    reasons = tuple(dict.fromkeys(verdict.reason for verdict in winners))
    return Resolution(label, winners[0].weight, reasons, rewrites)


def verdict_of(text: str | None, signal: Signal) -> Verdict | None:
    """What one signal says of a completion `text`; None where it says nothing."""
    body = signal.body
    match body["kind"]:
        case "thumbs":
            up = body["value"] == "up"
            return Verdict(0, up, 1.0, "thumbs_up" if up else "thumbs_down")
        case "edit":
            return _of_edit(text, body["text"])
        case "rating":
            return _of_rating(body["value"], body["minimum"], body["maximum"])
        case "preference":
            return Verdict(3, DESIRABLE, 1.0, "preferred")
        case "not_preferred":
            return Verdict(3, UNDESIRABLE, 1.0, "not_preferred")
        case kind:
            return _IMPLICIT.get(kind)


def _of_edit(text: str | None, edited: str) -> Verdict | None:
    if text is None:
        return None
    match severity(text, edited):
        case "unchanged":
            return _IMPLICIT["accept"]
        case "cosmetic":
            return Verdict(1, DESIRABLE, 1.0, "edit_cosmetic")
        case "rewrite":
            return Verdict(1, UNDESIRABLE, 1.0, "edit_rewritten")


def _of_rating(value: float, minimum: float, maximum: float) -> Verdict | None:
    place = (value - minimum) / (maximum - minimum)
    if place >= RATING_DESIRABLE:
        return Verdict(2, DESIRABLE, 1.0, "rating_high")
    if place <= RATING_UNDESIRABLE:
        return Verdict(2, UNDESIRABLE, 1.0, "rating_low")
    return None


def _of_actor(text: str | None, signals: Sequence[Signal]) -> Verdict | None:
    """The verdict that counts of one actor, whose signals come in the order of time."""
    counts: Verdict | None = None
    for signal in signals:
        verdict = verdict_of(text, signal)
        if verdict is not None and (counts is None or verdict.rank <= counts.rank):
            counts = verdict
    return counts


def _rewrites(text: str | None, signals: Sequence[Signal]) -> tuple[Rewrite, ...]:
    """The last edit of each actor where it is a rewrite; the same text once, from where it stood first."""
    if text is None:
        return ()
    places: dict[str, int] = {}
    for by_one in _by_actor(signals):
        edits = [signal for signal in by_one if signal.body["kind"] == "edit"]
        if edits and severity(text, edits[-1].body["text"]) == "rewrite":
            edited, position = edits[-1].body["text"], edits[-1].position
            places[edited] = min(position, places.get(edited, position))
    return tuple(Rewrite(edited, position) for edited, position in sorted(places.items(), key=lambda item: item[::-1]))


def _by_actor(signals: Iterable[Signal]) -> list[list[Signal]]:
    of: dict[str, list[Signal]] = {}
    for signal in sorted(signals, key=lambda signal: (signal.occurred_at, signal.position)):
        of.setdefault(signal.actor, []).append(signal)
    return list(of.values())


def _heaviest_first(verdict: Verdict) -> tuple[float, int, str]:
    return -verdict.weight, verdict.rank, verdict.reason
