"""SQL that reads the feedback log, and makes room in it."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.feedback.log import lock_key
from app.feedback.tables import Completion, Event


def newest(
    session: Session, project: str, *, before: int | None, limit: int, completion_id: str | None, actor: str | None
) -> Sequence[Event]:
    """Up to `limit` events, the newest first, all of them older than position `before`."""
    query = select(Event).where(Event.project_id == project)
    if before is not None:
        query = query.where(Event.position < before)
    if completion_id is not None:
        query = query.where(Event.completion_id == completion_id)
    if actor is not None:
        query = query.where(Event.actor == actor)
    return session.scalars(query.order_by(Event.position.desc()).limit(limit)).all()


def completion_of(session: Session, project: str, completion_id: str) -> Completion | None:
    return session.get(Completion, (project, completion_id))


_NEWEST_POSITION = text("""
    SELECT greatest(
        (SELECT coalesce(max(position), 0) FROM events WHERE project_id = :project),
        (SELECT coalesce(max(position), 0) FROM completions WHERE project_id = :project)
    )
""")


def watermark(session: Session, project: str) -> int:
    """The position of the newest event or completion, where every position up to it is committed or never will be.

    Positions are drawn before the commit, so a reader could see 7 while 6 is under way. Writers hold the log's lock
    shared; to have it alone for a moment means that none is under way. Rolling back to the savepoint gives the lock
    back at once, without ending the caller's transaction.
    """
    savepoint = session.connection().begin_nested()
    try:
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key(project)})
        return session.execute(_NEWEST_POSITION, {"project": project}).scalar_one()
    finally:
        savepoint.rollback()


def make_month(session: Session, start: datetime, end: datetime) -> bool:
    """Whether there is a new partition for the events received from `start` on, before `end`; both in UTC.

    Attached when it is made: to make it as a part would keep writers waiting for the whole table.
    """
    name = f"events_{start:%Y_%m}"
    if session.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar_one() is not None:
        return False
    session.execute(text(f"CREATE TABLE {name} (LIKE events INCLUDING ALL)"))
    session.execute(text(f"ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')"))
    return True
