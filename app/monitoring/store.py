"""SQL of the ages at which events are learnt from."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.monitoring.ages import SHARES
from app.monitoring.tables import AgesAtRelease, AgesOfWaiting

_NEXT = text("""
    SELECT releases.id, releases.number, releases.checkpoint_id, releases.created_at, snapshots.watermark
    FROM releases JOIN checkpoints ON checkpoints.id = releases.checkpoint_id
        JOIN snapshots ON snapshots.id = checkpoints.snapshot_id
    WHERE releases.project_id = :project AND releases.action = 'ship' AND releases.number > :after
    ORDER BY releases.number LIMIT 1
""")

#: The time of the receipt of an imported event says nothing about its age.
_AGES = text("""
    SELECT count(*) AS events, percentile_cont(CAST(:shares AS float8[])) WITHIN GROUP (
        ORDER BY greatest(0, extract(epoch FROM CAST(:at AS timestamptz) - received_at)::float8)) AS ages
    FROM events WHERE project_id = :project AND position > :after AND position <= :until AND origin IS NULL
""")


def next_release(session: Session, project: str, after: int) -> Row[tuple[UUID, int, UUID, datetime, int]] | None:
    """Returns id, number, checkpoint_id, created_at and watermark of the next shipped release after this number."""
    return session.execute(_NEXT, {"project": project, "after": after}).one_or_none()


def ages(session: Session, project: str, after: int, until: int, at: datetime) -> tuple[int, list[float] | None]:
    """Returns the number of events between two positions, and the quantiles of their ages at a time."""
    values = {"project": project, "after": after, "until": until, "at": at, "shares": list(SHARES)}
    events, quantiles = session.execute(_AGES, values).one()
    return events, quantiles


def reached(session: Session, project: str) -> tuple[int, int]:
    """Returns the last release whose ages are stored, and the last position that a release has learnt from; 0 before
    the first one.
    """
    highest = select(func.max(AgesAtRelease.release_number), func.max(AgesAtRelease.watermark))
    number, position = session.execute(highest.where(AgesAtRelease.project_id == project)).one()
    return number or 0, position or 0


def add(session: Session, values: dict[str, Any]) -> None:
    session.execute(insert(AgesAtRelease).values(**values).on_conflict_do_nothing())


def waiting(session: Session, project: str) -> AgesOfWaiting | None:
    return session.get(AgesOfWaiting, project)


def put_waiting(session: Session, project: str, values: dict[str, Any]) -> None:
    statement = insert(AgesOfWaiting).values(project_id=project, **values)
    session.execute(statement.on_conflict_do_update(index_elements=[AgesOfWaiting.project_id], set_=values))


def newest_first(session: Session, project: str, limit: int) -> Sequence[AgesAtRelease]:
    """Returns the newest releases that learnt from events."""
    query = select(AgesAtRelease).where(AgesAtRelease.project_id == project, AgesAtRelease.events > 0)
    return session.scalars(query.order_by(AgesAtRelease.release_number.desc()).limit(limit)).all()
