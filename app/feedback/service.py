"""Taking events in: each is stored once, whatever is sent how often."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.database import now
from app.errors import Conflict, Fault, Invalid
from app.feedback import signals, store
from app.feedback.tables import Event
from app.schema import Page, decode_cursor, page_of


class Outcome(NamedTuple):
    event_id: str
    status: str  # stored, replayed or conflict
    differs: tuple[str, ...]  # JSON pointers, where it is a conflict


def record(session: Session, project: str, event: wire.Event) -> wire.EventReceipt:
    """Append the event. Raises `Conflict` where its id is taken by another body, naming the fields that differ."""
    [outcome] = _append(session, project, [event])
    if outcome.status == "conflict":
        raise Conflict(
            _conflict(outcome),
            code="event_id_taken",
            faults=[Fault(pointer, "differs from what is stored under this id") for pointer in outcome.differs],
            details={"event_id": outcome.event_id, "differs": list(outcome.differs)},
        )
    return wire.EventReceipt(event_id=outcome.event_id, status=outcome.status)


def record_batch(session: Session, project: str, items: Sequence[Any]) -> wire.BatchReceipt:
    """Append what is valid of `items`, decoded JSON values; say of each item what became of it."""
    answers: dict[int, wire.BatchItem] = {}
    events: dict[int, wire.Event] = {}
    for index, item in enumerate(items):
        parsed = signals.parse(item)
        if isinstance(parsed, wire.Event):
            events[index] = parsed
        else:
            answers[index] = _invalid(index, item, parsed)
    for index, outcome in zip(events, _append(session, project, list(events.values())), strict=True):
        conflict = outcome.status == "conflict"
        answers[index] = wire.BatchItem(
            index=index,
            event_id=outcome.event_id,
            status=outcome.status,
            error=_conflict(outcome) if conflict else None,
            pointer=outcome.differs[0] if conflict else None,
        )
    ordered = [answers[index] for index in range(len(items))]
    stored = sum(item.status == "stored" for item in ordered)
    replayed = sum(item.status == "replayed" for item in ordered)
    return wire.BatchReceipt(stored=stored, replayed=replayed, rejected=len(ordered) - stored - replayed, items=ordered)


def page(
    session: Session,
    project: str,
    *,
    cursor: str | None = None,
    limit: int = 50,
    completion_id: str | None = None,
    actor: str | None = None,
) -> Page[wire.StoredEvent]:
    """Events, the newest first. Raises `Invalid` for a foreign cursor."""
    rows = store.newest(
        session, project, before=_position(cursor), limit=limit + 1, completion_id=completion_id, actor=actor
    )
    return page_of(rows, limit, lambda row: str(row.position), _stored)


def watermark(session: Session, project: str) -> int:
    """The log's end: no event at or below this position will appear later. 0 where there are none."""
    return store.watermark(session, project)


def _append(session: Session, project: str, events: Sequence[wire.Event]) -> list[Outcome]:
    """One insert for all. Of several events with one id, the first counts and the others are compared with it."""
    received_at = now()
    first: dict[str, wire.Event] = {}
    ids = [signals.id_of(event) for event in events]
    for event_id, event in zip(ids, events, strict=True):
        first.setdefault(event_id, event)
    rows = [_row(event_id, event, received_at) for event_id, event in first.items()]
    new = store.insert_once(session, project, received_at, rows) if rows else set()
    before = store.with_ids(session, project, [event_id for event_id in first if event_id not in new])

    outcomes = []
    for event_id, event in zip(ids, events, strict=True):
        if event_id in new and first[event_id] is event:
            outcomes.append(Outcome(event_id, "stored", ()))
        elif event_id in new:
            same = signals.body_sha256(event) == signals.body_sha256(first[event_id])
            outcomes.append(_compared(event_id, same, signals.document(first[event_id]), event))
        else:
            row = before[event_id]
            outcomes.append(_compared(event_id, row.body_sha256 == signals.body_sha256(event), _document(row), event))
    return outcomes


def _compared(event_id: str, same: bool, stored: dict[str, Any], event: wire.Event) -> Outcome:
    if same:
        return Outcome(event_id, "replayed", ())
    return Outcome(event_id, "conflict", tuple(signals.differences(stored, signals.document(event))))


def _row(event_id: str, event: wire.Event, received_at: datetime) -> store.NewRow:
    body = signals.document(event)
    return store.NewRow(
        event_id=event_id,
        occurred_at=event.occurred_at or received_at,
        completion_id=event.completion_id,
        actor=event.actor,
        signal=_json(body["signal"]),
        prompt=None if event.prompt is None else _json(body["prompt"]),
        completion=event.completion,
        checkpoint_id=event.checkpoint_id,
        metadata=_json(body["metadata"]),
        body_sha256=signals.body_sha256(event),
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _document(row: Event) -> dict[str, Any]:
    """The body of a stored event. A time equal to that of the receipt is ours: none was sent."""
    return {
        "completion_id": row.completion_id,
        "actor": row.actor,
        "signal": row.signal,
        "prompt": row.prompt,
        "completion": row.completion,
        "checkpoint_id": None if row.checkpoint_id is None else str(row.checkpoint_id),
        "metadata": row.extra,
        "occurred_at": None if row.occurred_at == row.received_at else row.occurred_at.timestamp(),
    }


def _stored(row: Event) -> wire.StoredEvent:
    return wire.StoredEvent(
        event_id=row.event_id,
        position=row.position,
        received_at=row.received_at,
        occurred_at=row.occurred_at,
        completion_id=row.completion_id,
        actor=row.actor,
        signal=row.signal,
        prompt=row.prompt,
        completion=row.completion,
        checkpoint_id=row.checkpoint_id,
        metadata=row.extra,
    )


def _conflict(outcome: Outcome) -> str:
    fields: Iterable[str] = outcome.differs or ("the body",)
    return (
        f"Event {outcome.event_id} is stored with another {', '.join(fields)}: send the same body to retry, "
        "or a new event_id to say something new."
    )


def _invalid(index: int, item: Any, faults: Sequence[Fault]) -> wire.BatchItem:
    return wire.BatchItem(
        index=index,
        event_id=signals.given_id(item),
        status="invalid",
        error="; ".join(f"{fault.pointer or 'the item'}: {fault.message}" for fault in faults),
        pointer=faults[0].pointer,
    )


def _position(cursor: str | None) -> int | None:
    key = decode_cursor(cursor)
    if key is None:
        return None
    if not (key.isascii() and key.isdigit() and len(key) < 19):
        raise Invalid(
            "The cursor is none that a page gave out: leave it out to begin with the first page.",
            code="invalid_cursor",
            faults=[Fault("cursor", "is not a cursor of this listing")],
        )
    return int(key)
