"""Labels a log completion by completion with the pure policy. It is slow and simple, and shares no code with the labels
of whole logs.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.feedback.reading.event_time import NO_TIME
from app.feedback.reading.not_preferred import EVEN, NOT_PREFERRED, id_of
from app.labels import service as labels
from app.labels.policy import NO_VERDICT, QUARANTINED, Resolution, Signal, resolve
from app.labels.verdicts import Context
from app.labels.whole_log import resolve as whole_log
from app.labels.whole_log.labelled import Labelled

EVENTS = text("""
    SELECT event_id, position, occurred_at, received_at, origin, completion_id, actor, signal, prompt, completion,
           checkpoint_id, supersedes
    FROM events WHERE project_id = :project AND position <= :watermark ORDER BY position
""")
COMPLETIONS = text("""
    SELECT completion_id, position, prompt, completion, checkpoint_id
    FROM completions WHERE project_id = :project AND position <= :watermark
""")


@dataclass(frozen=True)
class Resolved:
    """A completion with its label. `position` is that of its registration, or of the event that first carried its text,
    or else of its first event.
    """

    completion_id: str
    prompt: Any
    completion: str | None
    checkpoint_id: UUID | None
    position: int
    resolution: Resolution


@dataclass(frozen=True)
class Mention:
    """An event, from the point of view of a completion that it mentions."""

    position: int
    moment: tuple[datetime, int]
    by_arrival: bool
    actor: str
    body: dict[str, Any]
    other: str | None
    stands: bool
    prompt: Any
    completion: str | None
    checkpoint_id: UUID | None


def resolved(
    session: Session, project: str, policy: wire.LabelPolicy, *, watermark: int, left_out: Collection[str] = ()
) -> Iterator[Resolved]:
    """Yields every completion that an event up to `watermark` mentions, by id, without the signals in `left_out`."""
    values = {"project": project, "watermark": watermark}
    events = session.execute(EVENTS, values).all()
    registered = {row.completion_id: row for row in session.execute(COMPLETIONS, values)}
    context = labels.context(session, project, policy, watermark)
    about: dict[str, list[Mention]] = defaultdict(list)
    for event in events:
        for completion_id, mention in mentions(event, stands(event, events)):
            about[completion_id].append(mention)
    for completion_id in sorted(about, key=str.encode):
        yield _resolved(policy, context, completion_id, about[completion_id], registered.get(completion_id), left_out)


def resolve_all(
    session: Session, project: str, policy: wire.LabelPolicy, *, watermark: int, left_out: Collection[str] = ()
) -> Labelled:
    """Resolves the log up to `watermark` as a whole, without the signals of the actors in `left_out`."""
    log = labels.log_of(session, project, policy, watermark)
    context = labels.context(session, project, policy, watermark)
    return whole_log.resolve(policy, log, context, sorted(left_out), judged=True)


def stands(event: Row[Any], events: Collection[Row[Any]]) -> bool:
    """Returns whether the event has a signal that its actor has neither retracted nor replaced."""
    if event.signal["kind"] == "retract":
        return False
    for change in events:
        if (change.actor, change.completion_id) != (event.actor, event.completion_id):
            continue
        if change.supersedes == event.event_id:
            return False
        takes_all_back = change.signal["kind"] == "retract" and change.supersedes is None
        if takes_all_back and moment_of(change) >= moment_of(event):
            return False
    return True


def moment_of(event: Row[Any]) -> tuple[datetime, int]:
    """Returns the time of an event, and its position in the log if the time is that of the receipt."""
    if event.occurred_at is not None:
        return event.occurred_at, 0
    return (NO_TIME, 0) if event.origin == "import" else (event.received_at, event.position)


def mentions(event: Row[Any], standing: bool) -> Iterator[tuple[str, Mention]]:
    """Yields the completions that an event mentions; a preference mentions two."""
    moment = moment_of(event)
    details = (event.position, moment, moment[1] > 0, event.actor)
    rejected, other = event.signal.get("rejected"), None
    if event.signal["kind"] == "preference":
        other = id_of(event.completion_id, rejected, event.signal.get("rejected_completion_id"))
    own = (event.prompt, event.completion, event.checkpoint_id)
    yield event.completion_id, Mention(*details, event.signal, other, standing, *own)
    if other is not None:
        prompt = None if rejected is None else event.prompt
        body = {"kind": EVEN if event.signal.get("tie") else NOT_PREFERRED}
        yield other, Mention(*details, body, event.completion_id, standing, prompt, rejected, None)


def _resolved(
    policy: wire.LabelPolicy,
    context: Context,
    completion_id: str,
    about: list[Mention],
    registered: Row[Any] | None,
    left_out: Collection[str],
) -> Resolved:
    sources = [*([registered] if registered else []), *about]
    carrier = next((source for source in sources if source.completion is not None), None)
    signals = [
        Signal(one.position, one.moment[0], one.actor, one.body, one.stands, one.other, one.by_arrival) for one in about
    ]
    return Resolved(
        completion_id=completion_id,
        prompt=carrier.prompt if carrier else None,
        completion=carrier.completion if carrier else None,
        checkpoint_id=next((source.checkpoint_id for source in sources if source.checkpoint_id is not None), None),
        position=(carrier or about[0]).position,
        resolution=without(policy, carrier.completion if carrier else None, signals, context, left_out),
    )


def without(
    policy: wire.LabelPolicy, completion: str | None, signals: list[Signal], context: Context, left_out: Collection[str]
) -> Resolution:
    """Returns the resolution without the signals of `left_out`; `quarantined` if no other actor has a verdict."""
    left = [signal for signal in signals if signal.actor not in left_out]
    resolution = resolve(policy, completion, left, context)
    silenced = any(signal.stands and signal.actor in left_out for signal in signals)
    if silenced and resolution.reasons == (NO_VERDICT,):
        return replace(resolution, reasons=(QUARANTINED,))
    return resolution
