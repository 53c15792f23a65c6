"""SQL of serving targets, as operators see and change them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from app.serving.tables import ServingSighting, ServingTarget


def insert_target(session: Session, values: dict[str, Any]) -> ServingTarget:
    return session.scalars(insert(ServingTarget).values(**values).returning(ServingTarget)).one()


def of_name(session: Session, project: str, name: str, *, locked: bool = False) -> ServingTarget | None:
    query = select(ServingTarget).where(ServingTarget.project_id == project, ServingTarget.name == name)
    if locked:
        query = query.with_for_update()
    return session.scalars(query, execution_options={"populate_existing": True}).one_or_none()


def of_project(session: Session, project: str) -> Sequence[ServingTarget]:
    """Returns the targets in the order of their names."""
    query = select(ServingTarget).where(ServingTarget.project_id == project).order_by(ServingTarget.name)
    return session.scalars(query).all()


def after_name(session: Session, project: str, name: str, limit: int) -> Sequence[ServingTarget]:
    query = select(ServingTarget).where(ServingTarget.project_id == project, ServingTarget.name > name)
    return session.scalars(query.order_by(ServingTarget.name).limit(limit)).all()


def enabled(session: Session) -> Sequence[ServingTarget]:
    """Returns the enabled targets of all projects."""
    query = select(ServingTarget).where(ServingTarget.enabled)
    return session.scalars(query.order_by(ServingTarget.project_id, ServingTarget.name)).all()


def sightings(session: Session, rows: Sequence[ServingTarget]) -> Mapping[tuple[UUID, str], ServingSighting]:
    """Returns what was seen at the targets, by target and role."""
    query = select(ServingSighting).where(ServingSighting.target_id.in_([row.id for row in rows]))
    found = session.scalars(query, execution_options={"populate_existing": True})
    return {(sighting.target_id, sighting.role): sighting for sighting in found}


def forget_sightings(session: Session, target_id: UUID) -> None:
    session.execute(delete(ServingSighting).where(ServingSighting.target_id == target_id))


def forget_attempts(session: Session, target_id: UUID) -> None:
    session.execute(update(ServingSighting).where(ServingSighting.target_id == target_id).values(attempts=0))


def due(session: Session, unanswered_since: datetime) -> Sequence[ServingTarget]:
    """Returns the targets to look at that no worker holds, locked until the transaction ends. Skips locked rows.

    unanswered_since  workers that were asked later may still come, unless one came and was killed, so that its lease
                      has expired
    """
    at = func.clock_timestamp()
    query = select(ServingTarget).where(
        ServingTarget.enabled,
        ServingTarget.next_try_at <= at,
        or_(ServingTarget.lease_expires_at.is_(None), ServingTarget.lease_expires_at < at),
        or_(
            ServingTarget.rung_at.is_(None),
            ServingTarget.rung_at < unanswered_since,
            ServingTarget.rung_at < ServingTarget.next_try_at,
            ServingTarget.rung_at < ServingTarget.lease_expires_at,
        ),
    )
    statement = query.with_for_update(skip_locked=True)
    return session.scalars(statement, execution_options={"populate_existing": True}).all()
