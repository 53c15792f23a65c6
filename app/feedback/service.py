"""Reads events, erases them, and adds partitions to the feedback log. Events are written by `ingest.group_commit`."""

import hashlib
import logging
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from itertools import chain

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.database import now
from app.errors import NotFound
from app.feedback import store
from app.feedback.tables import Event
from app.pages import MAX_INT8, Page, key_of_cursor, number_up_to, page_of
from app.projects.protection import service as protections

log = logging.getLogger(__name__)

#: Partitions are made for this many days ahead; a month has 31 at most.
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
    """Returns a page of events, newest first. Raises `Invalid` for a cursor of another listing.

    actor  the caller's own id or its hash: events are found under both
    """
    before = key_of_cursor(cursor, number_up_to(MAX_INT8))
    forms = (None,) if actor is None else protections.forms_of_actor(session, project, actor)
    found = [
        store.newest(session, project, before=before, limit=limit + 1, completion_id=completion_id, actor=form)
        for form in forms
    ]
    rows = sorted(chain.from_iterable(found), key=lambda row: row.position, reverse=True)[: limit + 1]
    return page_of(rows, limit, lambda row: str(row.position), _stored)


def event(session: Session, project: str, event_id: str) -> wire.StoredEvent:
    """Returns an event. Raises `NotFound` if it does not exist or was erased."""
    row, taken = store.event_of(session, project, event_id)
    if row is not None:
        return _stored(row)
    if taken:
        raise NotFound(f"Event {event_id} was erased or has expired: only its id is left.", code="event_erased")
    raise NotFound(f"Project {project} has no event {event_id}: check the id.", code="event_not_found")


def completion(session: Session, project: str, completion_id: str) -> wire.StoredCompletion:
    """Returns a registered completion. Raises `NotFound`, even if events refer to the id."""
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
        completion=row.message or row.completion,
        checkpoint_id=row.checkpoint_id,
        conversation_id=row.conversation_id,
        sampling=row.sampling,
        token_ids=row.token_ids,
        log_probs=row.log_probs,
        metadata=row.extra,
    )


def has_events_of(session: Session, project: str, actor: str) -> bool:
    """Returns whether events are stored under exactly this id of an actor."""
    return bool(store.newest(session, project, before=None, limit=1, completion_id=None, actor=actor))


def watermark(session: Session, project: str) -> int:
    """Returns the log's end: no row will appear at or below this position later. 0 for an empty log."""
    return store.watermark(session, project)


def wait_for_writers(session: Session, project: str) -> None:
    """Waits for the transactions that write to the log, and keeps others waiting until this transaction ends. They see
    then what it has changed.
    """
    store.hold_log(session, project)


def more_than(session: Session, project: str, events: int) -> bool:
    """Returns whether the project has more than `events` events; reads no more of them than that."""
    return store.more_than(session, project, events)


def actor_sha256(project: str, actor: str) -> bytes:
    """Returns the digest by which a tombstone identifies an actor."""
    return hashlib.sha256(f"{project}\0{actor}".encode()).digest()


def keep_away(session: Session, project: str, actor_sha256: bytes) -> None:
    """Refuses the actor's events from now on. Once this is committed and `watermark` was called, no event of the actor
    appears any more."""
    store.put_tombstone(session, project, actor_sha256)


def keep_away_as(session: Session, project: str, hashed_for: str, actor_sha256: bytes) -> None:
    """Refuses the events of an actor by a digest that was made with the name of another project, or of this one."""
    if hashed_for != project:
        store.put_tombstone_name(session, project, hashed_for)
    store.put_tombstone(session, project, actor_sha256)


def is_kept_away(session: Session, project: str, actor_sha256: bytes) -> bool:
    return store.has_tombstone(session, project, actor_sha256)


def let_back(session: Session, project: str, actor_sha256: bytes) -> None:
    """Lets new events of the actor be stored again."""
    store.lift_tombstone(session, project, actor_sha256)


def erase(session: Session, project: str, event_ids: Collection[str]) -> tuple[list[int], set[str]]:
    """Erases the events, whose ids stay taken; returns the positions of those that existed, and their tables."""
    rows = store.erase_events(session, project, event_ids)
    return [row.position for row in rows], {row.table_name for row in rows}


def erase_unheard_of(session: Session, project: str, completion_ids: Collection[str]) -> int:
    """Erases the registered completions among these that no event refers to; returns their number."""
    unreferenced = store.unheard_of(session, project, completion_ids)
    store.erase_completions(session, project, unreferenced)
    return len(unreferenced)


def keep_months_ahead(session: Session) -> None:
    """Creates the partitions that events will need within `DAYS_AHEAD` days; call it regularly.

    Events of a month without a partition go to the default partition: nothing is lost, but they are slower to drop.
    """
    month = _next(now())
    while month < now() + timedelta(days=DAYS_AHEAD):
        if store.make_month(session, month, _next(month)):
            log.info("the feedback log has a partition for %s now", f"{month:%Y-%m}")
        month = _next(month)


def month_of(time: datetime) -> tuple[datetime, datetime]:
    """Returns the first moments of the time's month in UTC, and of the next one."""
    first = time.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first, _next(first)


def make_month(session: Session, start: datetime, end: datetime) -> bool:
    """Creates the partition for a month unless it exists. The default partition must have no event of that month."""
    return store.make_month(session, start, end)


def _next(time: datetime) -> datetime:
    """Returns the first moment of the following month."""
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
        completion=row.message or row.completion,
        checkpoint_id=row.checkpoint_id,
        supersedes=row.supersedes,
        conversation_id=row.conversation_id,
        metadata=row.extra,
        never_train=row.never_train,
        origin="import" if row.origin == "import" else None,
    )
