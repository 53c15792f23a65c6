"""SQL of erasures."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select, text
from sqlalchemy.orm import Session

from app.labels.rejected import ID_SQL
from app.privacy.erasures.tables import ErasedCompletion, ErasedEvent, Erasure

UNFINISHED = ("pending", "running")

_ANYTHING = text("SELECT EXISTS (SELECT FROM events WHERE project_id = :project AND actor = :actor)")

#: A preference speaks of two completions.
_REMEMBER = text(f"""
    WITH said AS MATERIALIZED (
        SELECT event_id, completion_id,
               CASE WHEN signal ->> 'kind' = 'preference' THEN {ID_SQL} END AS rejected_id
        FROM events WHERE project_id = :project AND actor = :actor AND position <= :watermark
    ), remembered AS (
        INSERT INTO erased_events (erasure_id, event_id) SELECT :erasure, event_id FROM said
    )
    INSERT INTO erased_completions (erasure_id, completion_id)
    SELECT :erasure, completion_id FROM said
    UNION SELECT :erasure, rejected_id FROM said WHERE rejected_id IS NOT NULL
""")  # noqa: S608 - of constants alone


def insert_erasure(session: Session, values: dict[str, Any]) -> Erasure:
    return session.scalars(insert(Erasure).values(**values).returning(Erasure)).one()


def of_id(session: Session, project: str, erasure_id: UUID) -> Erasure | None:
    return session.scalars(select(Erasure).where(Erasure.id == erasure_id, Erasure.project_id == project)).one_or_none()


def locked(session: Session, erasure_id: UUID) -> Erasure | None:
    """The erasure, held until the transaction ends; None where somebody has it already."""
    return session.scalars(select(Erasure).where(Erasure.id == erasure_id).with_for_update(skip_locked=True)).first()


def newest_of(session: Session, project: str, actor_sha256: bytes) -> Erasure | None:
    asked = select(Erasure).where(Erasure.project_id == project, Erasure.actor_sha256 == actor_sha256)
    return session.scalars(asked.order_by(Erasure.id.desc()).limit(1)).one_or_none()


def newest_first(session: Session, project: str, before: UUID | None, limit: int) -> Sequence[Erasure]:
    asked = select(Erasure).where(Erasure.project_id == project).order_by(Erasure.id.desc()).limit(limit)
    if before is not None:
        asked = asked.where(Erasure.id < before)
    return session.scalars(asked).all()


def failed(session: Session) -> Sequence[Erasure]:
    return session.scalars(select(Erasure).where(Erasure.state == "failed").order_by(Erasure.id)).all()


def due(session: Session, moment: datetime) -> Sequence[Erasure]:
    """Unfinished ones that nobody has at hand, whose time has come."""
    asked = select(Erasure).where(Erasure.state.in_(UNFINISHED), Erasure.next_attempt_at <= moment)
    return session.scalars(asked.order_by(Erasure.id).with_for_update(skip_locked=True)).all()


def anything_of(session: Session, project: str, actor: str) -> bool:
    """Whether the actor is in the log. It has no index for that: it is read as far as it takes."""
    return session.execute(_ANYTHING, {"project": project, "actor": actor}).scalar_one()


def remember(session: Session, row: Erasure, watermark: int) -> None:
    """What the actor said up to `watermark`, and of which completions."""
    values = {"erasure": row.id, "project": row.project_id, "actor": row.actor, "watermark": watermark}
    session.execute(_REMEMBER, values)


def events_of(session: Session, erasure_id: UUID, after: str = "", limit: int | None = None) -> Sequence[str]:
    asked = select(ErasedEvent.event_id).where(ErasedEvent.erasure_id == erasure_id, ErasedEvent.event_id > after)
    return session.scalars(asked.order_by(ErasedEvent.event_id).limit(limit)).all()


def completions_of(session: Session, erasure_id: UUID) -> Sequence[str]:
    asked = select(ErasedCompletion.completion_id).where(ErasedCompletion.erasure_id == erasure_id)
    return session.scalars(asked.order_by(ErasedCompletion.completion_id)).all()


def forget_completions(session: Session, erasure_id: UUID) -> None:
    session.execute(delete(ErasedCompletion).where(ErasedCompletion.erasure_id == erasure_id))
