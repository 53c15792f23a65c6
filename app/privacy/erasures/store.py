"""SQL of erasures."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from app.database import is_any_of
from app.privacy.erasures.tables import Erasure

UNFINISHED = ("pending", "running")

_ANYTHING = text("SELECT EXISTS (SELECT FROM events WHERE project_id = :project AND actor = :actor)")


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
