"""SQL of the decisions on actors in quarantine."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from app.database import is_any_of
from app.labels.quarantine.tables import QuarantineDecision


def append(session: Session, values: dict[str, Any]) -> QuarantineDecision:
    return session.scalars(insert(QuarantineDecision).values(**values).returning(QuarantineDecision)).one()


def newest_number(session: Session, project: str) -> int:
    """Returns the number of the newest decision, 0 if there is none."""
    query = select(func.coalesce(func.max(QuarantineDecision.number), 0))
    return session.execute(query.where(QuarantineDecision.project_id == project)).scalar_one()


def newest_of_each(
    session: Session, project: str, as_of: datetime | None, actors: Collection[str] | None = None
) -> Sequence[QuarantineDecision]:
    """Returns the newest decision, or the newest up to `as_of`, on each actor, or on each of `actors`."""
    query = select(QuarantineDecision).where(QuarantineDecision.project_id == project)
    if as_of is not None:
        query = query.where(QuarantineDecision.at <= as_of)
    if actors is not None:
        query = query.where(is_any_of(QuarantineDecision.actor, actors))
    newest_first = query.order_by(QuarantineDecision.actor, QuarantineDecision.number.desc())
    return session.scalars(newest_first.distinct(QuarantineDecision.actor)).all()


def newest_first(
    session: Session, project: str, *, actors: Collection[str] | None, before: int | None, limit: int
) -> Sequence[QuarantineDecision]:
    query = select(QuarantineDecision).where(QuarantineDecision.project_id == project)
    if actors is not None:
        query = query.where(is_any_of(QuarantineDecision.actor, actors))
    if before is not None:
        query = query.where(QuarantineDecision.number < before)
    return session.scalars(query.order_by(QuarantineDecision.number.desc()).limit(limit)).all()


def erase(session: Session, project: str, actor: str) -> int:
    """Deletes the decisions on an actor. Returns their number. Postgres refuses it unless the actor is being erased."""
    gone = delete(QuarantineDecision).where(QuarantineDecision.project_id == project, QuarantineDecision.actor == actor)
    return len(session.scalars(gone.returning(QuarantineDecision.number)).all())
