"""SQL of the ledger."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app.releases.tables import Release

#: The actions that decide what is live; the others are about the canary beside it.
LIVE_ACTIONS = ("start", "ship", "rollback")


def newest(session: Session, project: str) -> Release | None:
    """Returns the newest entry. It is the canary if its action is that: every other entry ends a canary."""
    query = select(Release).where(Release.project_id == project).order_by(Release.number.desc()).limit(1)
    return session.scalars(query).one_or_none()


def live(session: Session, project: str) -> Release | None:
    """Returns the live release."""
    query = select(Release).where(Release.project_id == project, Release.action.in_(LIVE_ACTIONS))
    return session.scalars(query.order_by(Release.number.desc()).limit(1)).one_or_none()


def newest_of_each(session: Session, actions: Collection[str] | None = None) -> Sequence[Release]:
    """Returns the newest entry of each project, or the newest one with one of these actions."""
    query = select(Release).distinct(Release.project_id).order_by(Release.project_id, Release.number.desc())
    return session.scalars(query if actions is None else query.where(Release.action.in_(actions))).all()


def append(session: Session, values: dict[str, Any]) -> Release:
    return session.scalars(insert(Release).values(**values).returning(Release)).one()


def project_of(session: Session, release_id: UUID) -> str | None:
    return session.scalars(select(Release.project_id).where(Release.id == release_id)).one_or_none()


def newest_first(session: Session, project: str, before: int | None, limit: int | None) -> Sequence[Release]:
    query = select(Release).where(Release.project_id == project).order_by(Release.number.desc()).limit(limit)
    if before is not None:
        query = query.where(Release.number < before)
    return session.scalars(query).all()
