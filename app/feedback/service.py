"""Reading the feedback log, and keeping room in it. Its way in is `intake`."""

import logging
from datetime import datetime, timedelta

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.database import now
from app.errors import Fault, Invalid, NotFound
from app.feedback import store
from app.feedback.tables import Event
from app.schema import Page, decode_cursor, page_of

log = logging.getLogger(__name__)

#: The log has partitions up to so many days ahead; a month is 31 of them at most.
DAYS_AHEAD = 40


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


def completion(session: Session, project: str, completion_id: str) -> wire.StoredCompletion:
    """A registered completion. Raises `NotFound`, also where only events speak of it."""
    row = store.completion_of(session, project, completion_id)
    if row is None:
        raise NotFound(
            f"No completion {completion_id} is registered: register it with PUT; events about it need none.",
            code="completion_not_found",
        )
    return wire.StoredCompletion(
        completion_id=row.completion_id,
        position=row.position,
        received_at=row.received_at,
        prompt=row.prompt,
        completion=row.completion,
        checkpoint_id=row.checkpoint_id,
        sampling=row.sampling,
        token_ids=row.token_ids,
        log_probs=row.log_probs,
        metadata=row.extra,
    )


def watermark(session: Session, project: str) -> int:
    """The log's end: nothing at or below this position will appear later. 0 where there is nothing."""
    return store.watermark(session, project)


def keep_months_ahead(session: Session) -> None:
    """Make the partitions that events will soon need; to be called now and then.

    Events of a month without one are stored in the partition for all others: nothing is lost, only slower to drop.
    """
    month = _next(now())
    while month < now() + timedelta(days=DAYS_AHEAD):
        if store.make_month(session, month, _next(month)):
            log.info("the feedback log has a partition for %s now", f"{month:%Y-%m}")
        month = _next(month)


def _next(time: datetime) -> datetime:
    """The first moment of the month after."""
    first = time.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)


def _stored(row: Event) -> wire.StoredEvent:
    return wire.StoredEvent(
        event_id=row.event_id,
        position=row.position,
        received_at=row.received_at,
        occurred_at=row.occurred_at or row.received_at,
        completion_id=row.completion_id,
        actor=row.actor,
        signal=row.signal,
        prompt=row.prompt,
        completion=row.completion,
        checkpoint_id=row.checkpoint_id,
        supersedes=row.supersedes,
        metadata=row.extra,
        never_train=row.never_train,
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
