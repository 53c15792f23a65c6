"""Resolves the signals of one completion to a label, a weight and the reasons, by a label policy. Pure.

1. Each signal that stands gives a verdict, or none.
2. A comparison is a judgement of two completions. An actor's latest judgement of the same two counts. A completion that
   the actor prefers more often than not is preferred, one that loses more often is not, and an even one has no verdict.
3. One verdict of each actor counts: the latest in the group of signals with the highest precedence. Signals of one
   moment have no order: if they contradict each other, the group is ignored.
4. The actors' verdicts are added by weight. The heavier side gives the label; equal sides give nothing.
5. The row weighs as much as the heaviest verdict on the winning side.
6. A text that replaces the completion is a desirable row of its own.

Weights are counted in thousandths, so that sums are exact in any order. `app.labels.whole_log.resolve` does the same
for whole logs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from thumbwheel import wire

from app.feedback.reading.not_preferred import NOT_PREFERRED
from app.labels.edits import severity
from app.labels.verdicts import (
    THOUSANDTHS,
    Context,
    SignalVerdict,
    heaviest_first,
    of_edit,
    of_signal,
    preference_in,
    rewrite_weight,
)

TIE, NO_VERDICT, QUARANTINED = "tie", "no_verdict", "quarantined"
EDITED_TEXT = "edited_text"
COUNTS = "counts"


@dataclass(frozen=True)
class Signal:
    """One signal as the log has it.

    occurred_at  `NO_TIME` if the time is unknown
    body         {"kind": …} as on the wire, or {"kind": NOT_PREFERRED} or {"kind": EVEN}
    stands       whether it was neither taken back nor replaced
    other        id of the completion that this one is compared with
    by_arrival   whether `occurred_at` is the time of its receipt; the position in the log then orders equal moments
    """

    position: int
    occurred_at: datetime
    actor: str
    body: Mapping[str, Any]
    stands: bool = True
    other: str | None = None
    by_arrival: bool = True

    @property
    def moment(self) -> tuple[datetime, int]:
        """The signal's key in the order of time."""
        return self.occurred_at, self.position if self.by_arrival else 0

    @property
    def preference(self) -> int | None:
        """Returns 1 if this completion is preferred, -1 if the other one is, 0 for neither; None for a signal that is
        no comparison.
        """
        return preference_in(self.body)


class Vote(NamedTuple):
    """The verdict of one actor that counts. `positions`: the positions of the signals that it rests on."""

    verdict: SignalVerdict
    positions: frozenset[int]


@dataclass(frozen=True)
class Rewrite:
    """A text that actors wrote in place of the completion; always desirable."""

    text: str
    position: int
    weight: float
    actors: tuple[str, ...]
    reason: str = EDITED_TEXT


@dataclass(frozen=True)
class Resolution:
    """The label of a completion. None is nothing, at weight 0. The reasons and `actors` agree with the label; the first
    reason is the heaviest."""

    label: bool | None
    weight: float
    reasons: tuple[str, ...]
    rewrites: tuple[Rewrite, ...] = ()
    actors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """The part of one signal in the resolution. `why` states in words whether it counts."""

    position: int
    actor: str
    kind: str
    says: str | None  # the reason of its verdict; None without a verdict
    desirable: bool | None
    weight: float
    counts: bool
    why: str


@dataclass(frozen=True)
class Explanation:
    resolution: Resolution
    desirable: float  # weight of that side
    undesirable: float
    steps: tuple[Step, ...]


def resolve(policy: wire.LabelPolicy, text: str | None, signals: Sequence[Signal], context: Context) -> Resolution:
    """Resolves `signals`, all about one completion. `text` is the model's output, None if unknown."""
    counted = {actor: vote.verdict for actor, vote in _counted(policy, text, signals, context).items()}
    rewrites = _rewrites(policy.signals.edit, text, signals)
    if not counted:
        return Resolution(None, 0.0, (NO_VERDICT,), rewrites)
    desirable, undesirable = _sides(counted.values())
    if desirable == undesirable:
        return Resolution(None, 0.0, (TIE,), rewrites)
    label = desirable > undesirable
    agreed = {actor: verdict for actor, verdict in counted.items() if verdict.desirable is label}
    winners = sorted(agreed.values(), key=heaviest_first)
    reasons = tuple(dict.fromkeys(verdict.reason for verdict in winners))
    return Resolution(label, winners[0].weight / THOUSANDTHS, reasons, rewrites, tuple(sorted(agreed)))


def explain(policy: wire.LabelPolicy, text: str | None, signals: Sequence[Signal], context: Context) -> Explanation:
    """Explains the result of `resolve` signal by signal, in the order of time."""
    counted = _counted(policy, text, signals, context)
    desirable, undesirable = _sides(vote.verdict for vote in counted.values())
    ordered = sorted(signals, key=_in_time)
    steps = []
    for signal in ordered:
        verdict = verdict_of(policy, text, signal, context)
        why = _why(signal, verdict, counted.get(signal.actor), ordered, context)
        steps.append(
            Step(
                position=signal.position,
                actor=signal.actor,
                kind=str(signal.body["kind"]),
                says=verdict.reason if verdict else None,
                desirable=verdict.desirable if verdict else None,
                weight=verdict.weight / THOUSANDTHS if verdict else 0.0,
                counts=why == COUNTS,
                why=why,
            )
        )
    resolution = resolve(policy, text, signals, context)
    return Explanation(resolution, desirable / THOUSANDTHS, undesirable / THOUSANDTHS, tuple(steps))


def verdict_of(policy: wire.LabelPolicy, text: str | None, signal: Signal, context: Context) -> SignalVerdict | None:
    """Returns the verdict of one signal on a completion `text`, None if it gives none."""
    body = signal.body
    if body["kind"] == "edit":
        return None if text is None else of_edit(policy, severity(text, body["text"], policy.signals.edit))
    return of_signal(policy, body, context)


def _counted(
    policy: wire.LabelPolicy, text: str | None, signals: Iterable[Signal], context: Context
) -> dict[str, Vote]:
    """Returns the vote of each actor who has one."""
    standing = [signal for signal in signals if signal.stands]
    votes = _by_comparisons(policy, standing, context)
    given: dict[tuple[str, int], list[tuple[Signal, SignalVerdict]]] = {}
    for signal in standing:
        verdict = verdict_of(policy, text, signal, context) if signal.preference is None else None
        if verdict is not None and _final(verdict, signal, standing, context):
            given.setdefault((signal.actor, verdict.rank), []).append((signal, verdict))
    for (actor, rank), group in given.items():
        newest = max(signal.moment for signal, _ in group)
        latest = [(signal, verdict) for signal, verdict in group if signal.moment == newest]
        if len({verdict.desirable for _, verdict in latest}) > 1:
            continue
        signal, verdict = min(latest, key=lambda pair: (heaviest_first(pair[1]), pair[0].position))
        if actor not in votes or rank < votes[actor].verdict.rank:
            votes[actor] = Vote(verdict, frozenset([signal.position]))
    return votes


def _by_comparisons(policy: wire.LabelPolicy, standing: Sequence[Signal], context: Context) -> dict[str, Vote]:
    """Returns the verdict of each actor's comparisons, unless they are even."""
    compared: dict[str, dict[str | None, list[Signal]]] = {}
    for signal in standing:
        if signal.preference is not None:
            compared.setdefault(signal.actor, {}).setdefault(signal.other, []).append(signal)
    votes = {}
    for actor, by_other in compared.items():
        latest = [_latest(judgements) for judgements in by_other.values()]
        # Contradictory judgements of one moment count as none.
        sides = [{signal.preference or 0 for signal in judgements} for judgements in latest]
        balance = sum(side.pop() for side in sides if len(side) == 1)
        body = {"kind": "preference"} if balance > 0 else {"kind": NOT_PREFERRED}
        verdict = of_signal(policy, body, context) if balance else None
        if verdict is not None:
            votes[actor] = Vote(verdict, frozenset(signal.position for signal in chain.from_iterable(latest)))
    return votes


def _latest(signals: Sequence[Signal]) -> list[Signal]:
    """Returns the signals of the newest moment."""
    newest = max(signal.moment for signal in signals)
    return [signal for signal in signals if signal.moment == newest]


def _final(verdict: SignalVerdict, signal: Signal, standing: Sequence[Signal], context: Context) -> bool:
    """Returns whether the verdict's window, if it has one, is over, and no signal within it cancels the verdict."""
    if verdict.unless is None:
        return True
    end = signal.occurred_at + verdict.within
    return end <= context.as_of and not any(
        other.body["kind"] == verdict.unless and signal.moment <= other.moment and other.occurred_at <= end
        for other in standing
    )


def _sides(verdicts: Iterable[SignalVerdict]) -> tuple[int, int]:
    weights = [0, 0]
    for verdict in verdicts:
        weights[verdict.desirable] += verdict.weight
    return weights[True], weights[False]


def _rewrites(rule: wire.EditRule, text: str | None, signals: Iterable[Signal]) -> tuple[Rewrite, ...]:
    """Returns the latest edits of each actor whose texts become rows. The same text is one row, at its first position
    and with the weight of its heaviest edit.
    """
    if text is None:
        return ()
    edits: dict[str, list[Signal]] = {}
    for signal in signals:
        if signal.stands and signal.body["kind"] == "edit":
            edits.setdefault(signal.actor, []).append(signal)
    rewrites: dict[str, Rewrite] = {}
    for signal in chain.from_iterable(_latest(edits[actor]) for actor in sorted(edits)):
        edited: str = signal.body["text"]
        weight = rewrite_weight(rule, severity(text, edited, rule))
        if weight is not None:
            before = rewrites.get(edited, Rewrite(edited, signal.position, weight, ()))
            position, heaviest = min(before.position, signal.position), max(before.weight, weight)
            rewrites[edited] = Rewrite(edited, position, heaviest, tuple(dict.fromkeys((*before.actors, signal.actor))))
    return tuple(sorted(rewrites.values(), key=lambda rewrite: rewrite.position))


def _why(
    signal: Signal, verdict: SignalVerdict | None, vote: Vote | None, signals: Sequence[Signal], context: Context
) -> str:
    """Returns `COUNTS` if a signal counts, otherwise the reason why not."""
    standing = [other for other in signals if other.stands]
    theirs = [other for other in standing if other.actor == signal.actor]
    if not signal.stands:
        return "taken back, or replaced by a later signal"
    if signal.preference is not None:
        same_two = [other for other in theirs if other.preference is not None and other.other == signal.other]
        if signal not in _latest(same_two):
            return "the same actor judged the same two later"
        if vote is not None and signal.position in vote.positions:
            return COUNTS
        if vote is not None:
            return "the same actor gave a signal of higher precedence, or prefers it as often as not"
        return "the policy says nothing of it, or the actor prefers it as often as not"
    if verdict is None:
        return _why_nothing(signal)
    if not _final(verdict, signal, standing, context):
        return f"waits for its window to end, or {verdict.unless} followed in it"
    if vote is None or verdict.rank < vote.verdict.rank:
        return "the same actor said the opposite at the same time"
    if verdict.rank > vote.verdict.rank:
        return "the same actor gave a signal of higher precedence"
    return COUNTS if signal.position in vote.positions else "the same actor said something later"


def _why_nothing(signal: Signal) -> str:
    if signal.body["kind"] == "edit":
        return "the policy says nothing of such an edit, or the original's text is not known yet"
    return "the policy says nothing of it"


def _in_time(signal: Signal) -> tuple[datetime, int]:
    return signal.occurred_at, signal.position
