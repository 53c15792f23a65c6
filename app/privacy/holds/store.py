"""SQL of legal holds."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session

from app.privacy.holds.tables import LegalHold, LegalHoldRelease

Read = tuple[LegalHold, LegalHoldRelease | None]
_WITH_RELEASE = select(LegalHold, LegalHoldRelease).outerjoin(
    LegalHoldRelease, LegalHoldRelease.hold_id == LegalHold.id
)


def insert_hold(session: Session, values: dict[str, Any]) -> LegalHold:
    return session.scalars(insert(LegalHold).values(**values).returning(LegalHold)).one()


def insert_release(session: Session, values: dict[str, Any]) -> LegalHoldRelease:
    return session.scalars(insert(LegalHoldRelease).values(**values).returning(LegalHoldRelease)).one()


def of_id(session: Session, project: str, hold_id: UUID) -> Read | None:
    query = _WITH_RELEASE.where(LegalHold.project_id == project, LegalHold.id == hold_id)
    row = session.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def newest_first(session: Session, project: str, before: UUID | None, limit: int) -> Sequence[Read]:
    query = _WITH_RELEASE.where(LegalHold.project_id == project).order_by(LegalHold.id.desc()).limit(limit)
    if before is not None:
        query = query.where(LegalHold.id < before)
    return [(hold, release) for hold, release in session.execute(query)]


def in_force(session: Session, project: str | None, moment: datetime) -> Sequence[LegalHold]:
    """Returns the holds in force, of one project or of all, oldest first."""
    query = (
        select(LegalHold)
        .outerjoin(LegalHoldRelease, LegalHoldRelease.hold_id == LegalHold.id)
        .where(LegalHoldRelease.hold_id.is_(None), LegalHold.until.is_(None) | (LegalHold.until > moment))
        .order_by(LegalHold.id)
    )
    if project is not None:
        query = query.where(LegalHold.project_id == project)
    return session.scalars(query).all()


def actors(session: Session, project: str) -> list[str]:
    """Returns the actors that holds name, those that have ended among them."""
    of_actors = (LegalHold.project_id == project) & (LegalHold.kind == "actor") & LegalHold.subject.is_not(None)
    found = session.scalars(select(LegalHold.subject).where(of_actors).distinct())
    return [actor for actor in found if actor is not None]


def forget_actor(session: Session, project: str, named: Sequence[str]) -> int:
    """Takes the actor's ids, as holds name them, out of all holds, and returns the number of holds."""
    of_actor = (LegalHold.project_id == project) & (LegalHold.kind == "actor") & LegalHold.subject.in_(named)
    return len(session.scalars(update(LegalHold).where(of_actor).values(subject=None).returning(LegalHold.id)).all())


def lock_shared(session: Session, key: int) -> None:
    session.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": key})


def lock(session: Session, key: int) -> None:
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
