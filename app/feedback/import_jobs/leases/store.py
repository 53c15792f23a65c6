"""SQL of the processes that do imports. Every write carries the lease: `_held` is in each statement on the row."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database import is_any_of
from app.feedback.import_jobs.leases.lease import ImportLease
from app.feedback.import_jobs.tables import ImportJob, ImportReject
from app.feedback.tables import Completion, EventId

_UNFINISHED = ImportJob.finished_at.is_(None)


def _held(lease: ImportLease) -> tuple[ColumnElement[bool], ...]:
    return (
        ImportJob.id == lease.import_id,
        ImportJob.lease_owner == lease.owner,
        ImportJob.lease_epoch == lease.epoch,
        _UNFINISHED,
    )


def after(seconds: float) -> ColumnElement[datetime]:
    """Returns the time after these seconds, by Postgres's clock."""
    return func.clock_timestamp() + text("make_interval(secs => :seconds)").bindparams(seconds=seconds)


def claim(session: Session, import_id: UUID, owner: str, seconds: float) -> tuple[ImportJob, datetime] | None:
    """Claims the import by one UPDATE; returns it with the time of Postgres. Returns None if it has ended, is not due,
    or another process holds it.
    """
    at = func.clock_timestamp()
    statement = (
        update(ImportJob)
        .where(
            ImportJob.id == import_id,
            _UNFINISHED,
            ImportJob.next_try_at <= at,
            or_(ImportJob.lease_expires_at.is_(None), ImportJob.lease_expires_at < at),
        )
        .values(
            state="running",
            started_at=func.coalesce(ImportJob.started_at, at),
            attempts=ImportJob.attempts + 1,
            counted_at=func.coalesce(ImportJob.counted_at, at),
            lease_owner=owner,
            lease_epoch=ImportJob.lease_epoch + 1,
            lease_expires_at=after(seconds),
        )
        .returning(ImportJob)
    )
    row = session.scalars(statement, execution_options={"populate_existing": True}).one_or_none()
    return None if row is None else (row, session.execute(select(at)).scalar_one())


def is_held(session: Session, import_id: UUID, owner: str) -> bool:
    query = select(ImportJob.id).where(
        ImportJob.id == import_id, ImportJob.lease_owner == owner, ImportJob.lease_expires_at > func.clock_timestamp()
    )
    return session.scalars(query).one_or_none() is not None


def write(session: Session, lease: ImportLease, values: Mapping[str, Any]) -> ImportJob | None:
    """Writes to the import of the lease and returns its row; None if the lease is lost."""
    statement = update(ImportJob).where(*_held(lease)).values(**values).returning(ImportJob)
    return session.scalars(statement, execution_options={"populate_existing": True}).one_or_none()


def add_rejects(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        session.execute(insert(ImportReject), list(rows))


def received_within(
    session: Session, project: str, since: datetime, until: datetime, *, event_ids: Collection[str]
) -> set[str]:
    """Returns those of the events that the log received in this time."""
    query = select(EventId.event_id).where(
        EventId.project_id == project,
        is_any_of(EventId.event_id, event_ids),
        EventId.received_at >= since,
        EventId.received_at < until,
    )
    return set(session.scalars(query))


def registered_within(
    session: Session, project: str, since: datetime, until: datetime, *, completion_ids: Collection[str]
) -> set[str]:
    """Returns those of the completions that were registered in this time."""
    query = select(Completion.completion_id).where(
        Completion.project_id == project,
        is_any_of(Completion.completion_id, completion_ids),
        Completion.received_at >= since,
        Completion.received_at < until,
    )
    return set(session.scalars(query))
