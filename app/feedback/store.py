"""SQL of the feedback log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, Text, any_, bindparam, select, text
from sqlalchemy.orm import Session

from app.feedback.tables import Event


@dataclass(frozen=True)
class NewRow:
    event_id: str
    occurred_at: datetime
    completion_id: str
    actor: str
    signal: str  # JSON text, as the three below
    prompt: str | None
    completion: str | None
    checkpoint_id: UUID | None
    metadata: str
    body_sha256: bytes


def _lock(session: Session, project: str, function: str) -> None:
    session.execute(
        text(f"SELECT {function}(hashtextextended('thumbwheel feedback ' || :project, 0))"), {"project": project}
    )


_INSERT = text("""
    INSERT INTO events (project_id, event_id, received_at, occurred_at, completion_id, actor, signal, prompt,
                        completion, checkpoint_id, metadata, body_sha256)
    SELECT :project, event_id, :received_at, occurred_at, completion_id, actor, signal::jsonb, prompt::jsonb,
           completion, checkpoint_id, metadata::jsonb, body_sha256
    FROM unnest(CAST(:event_ids AS text[]), CAST(:times AS timestamptz[]), CAST(:completion_ids AS text[]),
                CAST(:actors AS text[]), CAST(:signals AS text[]), CAST(:prompts AS text[]),
                CAST(:completions AS text[]), CAST(:checkpoint_ids AS uuid[]), CAST(:metadata AS text[]),
                CAST(:bodies AS bytea[]))
         WITH ORDINALITY AS item (event_id, occurred_at, completion_id, actor, signal, prompt, completion,
                                  checkpoint_id, metadata, body_sha256, number)
    ORDER BY number
    ON CONFLICT DO NOTHING
    RETURNING event_id
""")


def insert_once(session: Session, project: str, received_at: datetime, rows: Sequence[NewRow]) -> set[str]:
    """Append the rows in their order; those whose id is there already are left as they are. The ids that are new.

    The log's lock is held shared until the transaction ends: see `watermark`.
    """
    _lock(session, project, "pg_advisory_xact_lock_shared")
    new = session.execute(
        _INSERT,
        {
            "project": project,
            "received_at": received_at,
            "event_ids": [row.event_id for row in rows],
            "times": [row.occurred_at for row in rows],
            "completion_ids": [row.completion_id for row in rows],
            "actors": [row.actor for row in rows],
            "signals": [row.signal for row in rows],
            "prompts": [row.prompt for row in rows],
            "completions": [row.completion for row in rows],
            "checkpoint_ids": [row.checkpoint_id for row in rows],
            "metadata": [row.metadata for row in rows],
            "bodies": [row.body_sha256 for row in rows],
        },
    )
    return set(new.scalars())


def with_ids(session: Session, project: str, event_ids: Sequence[str]) -> dict[str, Event]:
    found = session.scalars(
        select(Event).where(Event.project_id == project, Event.event_id == any_(bindparam("ids", type_=ARRAY(Text)))),
        {"ids": list(event_ids)},
    )
    return {event.event_id: event for event in found}


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


def watermark(session: Session, project: str) -> int:
    """The position of the newest event, where every position up to it is committed or never will be.

    Positions are drawn before the commit, so a reader could see 7 while 6 is under way. Writers hold the log's lock
    shared; to have it alone for a moment means that none is under way. Rolling back to the savepoint gives the lock
    back at once, without ending the caller's transaction.
    """
    savepoint = session.connection().begin_nested()
    try:
        _lock(session, project, "pg_advisory_xact_lock")
        newest_position = text("SELECT coalesce(max(position), 0) FROM events WHERE project_id = :project")
        return session.execute(newest_position, {"project": project}).scalar_one()
    finally:
        savepoint.rollback()
