"""SQL of erasures."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from app.database import is_any_of
from app.feedback.reading.not_preferred import ID_SQL
from app.privacy.erasures.tables import ErasedCompletion, ErasedEvent, Erasure

UNFINISHED = ("pending", "running")

_ANYTHING = text("SELECT EXISTS (SELECT FROM events WHERE project_id = :project AND actor = :actor)")

#: A preference is about two completions.
_REMEMBER = text(f"""
    WITH part AS MATERIALIZED (
        SELECT position, event_id, completion_id,
               CASE WHEN signal ->> 'kind' = 'preference' THEN {ID_SQL} END AS rejected_id
        FROM events
        WHERE project_id = :project AND actor = :actor AND position > :after AND position <= :watermark
        ORDER BY position LIMIT :limit
    ), remembered AS (
        INSERT INTO erased_events (erasure_id, event_id) SELECT :erasure, event_id FROM part
    ), completions AS (
        INSERT INTO erased_completions (erasure_id, completion_id)
        SELECT :erasure, completion_id FROM part
        UNION SELECT :erasure, rejected_id FROM part WHERE rejected_id IS NOT NULL
        ON CONFLICT DO NOTHING
    )
    SELECT count(*) AS events, max(position) AS last FROM part
""")  # noqa: S608 - of constants alone

_FORGET_COMPLETIONS = text("""
    DELETE FROM erased_completions WHERE erasure_id = :erasure AND completion_id IN (
        SELECT completion_id FROM erased_completions WHERE erasure_id = :erasure LIMIT :limit)
""")


def insert_erasure(session: Session, values: dict[str, Any]) -> Erasure:
    return session.scalars(insert(Erasure).values(**values).returning(Erasure)).one()


def of_id(session: Session, project: str, erasure_id: UUID) -> Erasure | None:
    return session.scalars(select(Erasure).where(Erasure.id == erasure_id, Erasure.project_id == project)).one_or_none()


def locked(session: Session, erasure_id: UUID) -> Erasure | None:
    """Locks and returns the erasure, None if another transaction has the lock."""
    return session.scalars(select(Erasure).where(Erasure.id == erasure_id).with_for_update(skip_locked=True)).first()


def newest_of(session: Session, project: str, digests: Collection[bytes]) -> Erasure | None:
    """Returns the newest erasure of an actor, given the digests of the ids under which the events are stored."""
    known_by = Erasure.actor_sha256.in_(digests) | Erasure.pseudonym_sha256.in_(digests)
    query = select(Erasure).where(Erasure.project_id == project, known_by)
    return session.scalars(query.order_by(Erasure.id.desc()).limit(1)).one_or_none()


def newest_first(session: Session, project: str, before: UUID | None, limit: int) -> Sequence[Erasure]:
    query = select(Erasure).where(Erasure.project_id == project).order_by(Erasure.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Erasure.id < before)
    return session.scalars(query).all()


def failed(session: Session) -> Sequence[Erasure]:
    return session.scalars(select(Erasure).where(Erasure.state == "failed").order_by(Erasure.id)).all()


def due(session: Session, moment: datetime, to_vacuum: Collection[UUID]) -> Sequence[Erasure]:
    """Returns the erasures that are due and not locked: unfinished ones, and those of `to_vacuum`."""
    left = Erasure.state.in_(UNFINISHED) | is_any_of(Erasure.id, to_vacuum)
    query = select(Erasure).where(left, Erasure.next_attempt_at <= moment)
    return session.scalars(query.order_by(Erasure.id).with_for_update(skip_locked=True)).all()


def anything_of(session: Session, project: str, forms: Collection[str]) -> bool:
    """Returns whether the actor, whose events are stored under any of these ids, is in the log. Without an index, the
    log is read up to the first match.
    """
    return any(session.execute(_ANYTHING, {"project": project, "actor": form}).scalar_one() for form in forms)


def remember(session: Session, row: Erasure, actor: str, after: int, limit: int) -> int | None:
    """Stores the ids of up to `limit` events after a position that are stored under this id of the actor, and the ids
    of their completions.

    Returns the position of the last of these events, None if no more follow up to the watermark.
    """
    values = {
        "erasure": row.id, "project": row.project_id, "actor": actor, "watermark": row.watermark, "after": after,
        "limit": limit,
    }  # fmt: skip
    events, last = session.execute(_REMEMBER, values).one()
    return last if events == limit else None


def events_of(session: Session, erasure_id: UUID, after: str = "", limit: int | None = None) -> Sequence[str]:
    query = select(ErasedEvent.event_id).where(ErasedEvent.erasure_id == erasure_id, ErasedEvent.event_id > after)
    return session.scalars(query.order_by(ErasedEvent.event_id).limit(limit)).all()


def completions_of(session: Session, erasure_id: UUID, after: str = "", limit: int | None = None) -> Sequence[str]:
    query = select(ErasedCompletion.completion_id).where(
        ErasedCompletion.erasure_id == erasure_id, ErasedCompletion.completion_id > after
    )
    return session.scalars(query.order_by(ErasedCompletion.completion_id).limit(limit)).all()


def has_any(session: Session, erasure_id: UUID, completion_ids: Collection[str]) -> bool:
    """Returns whether the erasure has listed one of these completions."""
    query = select(ErasedCompletion.completion_id).where(
        ErasedCompletion.erasure_id == erasure_id, is_any_of(ErasedCompletion.completion_id, completion_ids)
    )
    return session.scalars(query.limit(1)).first() is not None


def forget_completions(session: Session, erasure_id: UUID, limit: int) -> int:
    """Deletes up to `limit` ids of completions, and returns their number."""
    forgotten = session.connection().execute(_FORGET_COMPLETIONS, {"erasure": erasure_id, "limit": limit})
    return forgotten.rowcount
