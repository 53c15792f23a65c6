"""SQL of the ids that erasures list."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.database import is_any_of
from app.feedback.reading.not_preferred import ID_SQL
from app.privacy.erasures.tables import ErasedCompletion, ErasedEvent, Erasure

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
