"""SQL of leases on targets. Every write of a worker carries its lease: `_held` is in each statement on a target, and
sightings are written in the transaction in which such a statement has found and locked the target.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.serving.leases.target_lease import TargetLease
from app.serving.served_artifact import Role
from app.serving.tables import ServingSighting, ServingTarget


def _held(lease: TargetLease) -> tuple[ColumnElement[bool], ...]:
    return (
        ServingTarget.id == lease.target_id,
        ServingTarget.lease_owner == lease.owner,
        ServingTarget.lease_epoch == lease.epoch,
    )


def after(seconds: float) -> ColumnElement[datetime]:
    return func.clock_timestamp() + text("make_interval(secs => :seconds)").bindparams(seconds=seconds)


def claim(session: Session, target_id: UUID, owner: str, seconds: float) -> ServingTarget | None:
    """Claims the target by one UPDATE. Returns None if it is disabled, not due, or another worker holds it."""
    at = func.clock_timestamp()
    statement = (
        update(ServingTarget)
        .where(
            ServingTarget.id == target_id,
            ServingTarget.enabled,
            ServingTarget.next_try_at <= at,
            or_(ServingTarget.lease_expires_at.is_(None), ServingTarget.lease_expires_at < at),
        )
        .values(lease_owner=owner, lease_epoch=ServingTarget.lease_epoch + 1, lease_expires_at=after(seconds))
        .returning(ServingTarget)
    )
    return session.scalars(statement, execution_options={"populate_existing": True}).one_or_none()


def write(session: Session, lease: TargetLease, values: dict[str, Any]) -> ServingTarget | None:
    """Writes to the target of the lease and returns its row; None if the lease is lost."""
    statement = update(ServingTarget).where(*_held(lease)).values(**values).returning(ServingTarget)
    return session.scalars(statement, execution_options={"populate_existing": True}).one_or_none()


def sightings(session: Session, target_id: UUID) -> Sequence[ServingSighting]:
    query = select(ServingSighting).where(ServingSighting.target_id == target_id)
    return session.scalars(query, execution_options={"populate_existing": True}).all()


def write_sighting(session: Session, target_id: UUID, role: Role, values: dict[str, Any]) -> None:
    """Inserts what was seen in the role, or replaces the given values of it."""
    statement = insert(ServingSighting).values(target_id=target_id, role=role, **{"attempts": 0, **values})
    session.execute(
        statement.on_conflict_do_update(index_elements=[ServingSighting.target_id, ServingSighting.role], set_=values)
    )


def forget_sighting(session: Session, target_id: UUID, role: Role) -> None:
    session.execute(delete(ServingSighting).where(ServingSighting.target_id == target_id, ServingSighting.role == role))


def forget_attempts(session: Session, target_id: UUID) -> None:
    session.execute(update(ServingSighting).where(ServingSighting.target_id == target_id).values(attempts=0))
