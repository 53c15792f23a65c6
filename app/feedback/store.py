"""SQL that reads the feedback log, adds partitions to it, and erases rows from it."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Row, delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database import is_any_of, now
from app.feedback.ingest.append import lock_key
from app.feedback.tables import Completion, Event, EventId, Tombstone, TombstoneName


def newest(
    session: Session, project: str, *, before: int | None, limit: int, completion_id: str | None, actor: str | None
) -> Sequence[Event]:
    """Returns up to `limit` events, newest first, all before position `before`."""
    query = select(Event).where(Event.project_id == project)
    if before is not None:
        query = query.where(Event.position < before)
    if completion_id is not None:
        query = query.where(Event.completion_id == completion_id)
    if actor is not None:
        query = query.where(Event.actor == actor)
    return session.scalars(query.order_by(Event.position.desc()).limit(limit)).all()


def event_of(session: Session, project: str, event_id: str) -> tuple[Event | None, bool]:
    """Returns the event, and whether its id was ever taken: the id of an erased event stays taken."""
    query = (
        select(EventId.event_id, Event)
        .join(
            Event,
            (Event.project_id == EventId.project_id)
            & (Event.position == EventId.position)
            & (Event.received_at == EventId.received_at),
            isouter=True,
        )
        .where(EventId.project_id == project, EventId.event_id == event_id)
    )
    row = session.execute(query).one_or_none()
    return (None, False) if row is None else (row.Event, True)


def completion_of(session: Session, project: str, completion_id: str) -> Completion | None:
    return session.get(Completion, (project, completion_id))


_NEWEST_POSITION = text("""
    SELECT greatest(
        (SELECT coalesce(max(position), 0) FROM events WHERE project_id = :project),
        (SELECT coalesce(max(position), 0) FROM completions WHERE project_id = :project)
    )
""")


def watermark(session: Session, project: str) -> int:
    """Returns the position of the newest event or completion; every position up to it is committed or never will be.

    Positions are drawn before the commit, so a reader could see 7 before 6 is committed. Writers hold the log's lock
    shared; once it is held exclusively, no write is in progress. Rolling back to the savepoint releases the lock
    at once, without ending the caller's transaction.
    """
    savepoint = session.connection().begin_nested()
    try:
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key(project)})
        return session.execute(_NEWEST_POSITION, {"project": project}).scalar_one()
    finally:
        savepoint.rollback()


def hold_log(session: Session, project: str) -> None:
    """Keeps all writers away from the log until the transaction ends."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key(project)})


def more_than(session: Session, project: str, events: int) -> bool:
    """Returns whether the project has more than `events` events."""
    query = text("SELECT count(*) FROM (SELECT FROM events WHERE project_id = :project LIMIT :limit) AS first")
    return session.execute(query, {"project": project, "limit": events + 1}).scalar_one() > events


def make_month(session: Session, start: datetime, end: datetime) -> bool:
    """Creates the partition for the events received from `start` until before `end`, both in UTC, unless it exists;
    returns whether it was created.

    The table is created first and attached then: creating it as a partition would lock the whole log for writers.
    """
    name = f"events_{start:%Y_%m}"
    if session.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar_one() is not None:
        return False
    session.execute(text(f"CREATE TABLE {name} (LIKE events INCLUDING ALL)"))
    session.execute(text(f"ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')"))
    return True


# -- erasure ----------------------------------------------------------------------------------------------------------

_ERASE_EVENTS = text("""
    DELETE FROM events USING event_ids
    WHERE event_ids.project_id = :project AND event_ids.event_id = ANY(:ids)
      AND (events.project_id, events.position, events.received_at)
          = (event_ids.project_id, event_ids.position, event_ids.received_at)
    RETURNING events.position, CAST(CAST(events.tableoid AS regclass) AS text) AS table_name
""")

#: Completions that no event is about and no preference rejected: any such event would need the text.
_UNHEARD_OF = text("""
    SELECT completion_id FROM completions known
    WHERE project_id = :project AND completion_id = ANY(:ids) AND NOT EXISTS (
        SELECT FROM events WHERE (events.project_id, events.completion_id) = (known.project_id, known.completion_id))
    EXCEPT
    SELECT signal ->> 'rejected_completion_id' COLLATE "C" FROM events
    WHERE project_id = :project AND signal ->> 'kind' = 'preference'
""")


def erase_events(session: Session, project: str, event_ids: Collection[str]) -> Sequence[Row[tuple[int, str]]]:
    """Erases the events and returns position and table_name of each that existed. Their ids stay taken."""
    return session.execute(_ERASE_EVENTS, {"project": project, "ids": list(event_ids)}).all()


def unheard_of(session: Session, project: str, completion_ids: Collection[str]) -> list[str]:
    """Returns the registered completions among these that no event refers to."""
    registered = select(Completion.completion_id).where(
        Completion.project_id == project, is_any_of(Completion.completion_id, completion_ids)
    )
    ids = list(session.scalars(registered))
    # The second half of the query reads the whole log: skip it if none of the ids is registered.
    return list(session.scalars(_UNHEARD_OF, {"project": project, "ids": ids})) if ids else []


def erase_completions(session: Session, project: str, completion_ids: Collection[str]) -> None:
    session.execute(
        delete(Completion).where(Completion.project_id == project, is_any_of(Completion.completion_id, completion_ids))
    )


def put_tombstone(session: Session, project: str, actor_sha256: bytes) -> None:
    session.execute(
        insert(Tombstone)
        .values(project_id=project, actor_sha256=actor_sha256, erased_at=now())
        .on_conflict_do_nothing()
    )


def put_tombstone_name(session: Session, project: str, name: str) -> None:
    session.execute(insert(TombstoneName).values(project_id=project, name=name).on_conflict_do_nothing())


def has_tombstone(session: Session, project: str, actor_sha256: bytes) -> bool:
    return session.get(Tombstone, (project, actor_sha256)) is not None


def lift_tombstone(session: Session, project: str, actor_sha256: bytes) -> None:
    session.execute(delete(Tombstone).where(Tombstone.project_id == project, Tombstone.actor_sha256 == actor_sha256))
