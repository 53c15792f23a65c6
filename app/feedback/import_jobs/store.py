"""SQL of uploaded imports, as requests and the tick see them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, defer

from app.feedback.import_jobs.tables import ImportJob, ImportReject

_UNFINISHED = ImportJob.finished_at.is_(None)


def insert_once(session: Session, values: Mapping[str, Any]) -> ImportJob | None:
    """Inserts an import; returns None if there is one with this fingerprint that neither failed nor was cancelled."""
    statement = insert(ImportJob).values(**values).on_conflict_do_nothing().returning(ImportJob)
    return session.scalars(statement).one_or_none()


def with_fingerprint(session: Session, project: str, fingerprint: str) -> ImportJob | None:
    """Returns the import with this fingerprint that neither failed nor was cancelled."""
    query = select(ImportJob).where(
        ImportJob.project_id == project,
        ImportJob.fingerprint == fingerprint,
        ImportJob.state.not_in(("failed", "cancelled")),
    )
    return session.scalars(query).one_or_none()


def of_id(session: Session, project: str, import_id: UUID) -> ImportJob | None:
    query = select(ImportJob).where(ImportJob.project_id == project, ImportJob.id == import_id)
    return session.scalars(query, execution_options={"populate_existing": True}).one_or_none()


def locked(session: Session, project: str, import_id: UUID) -> ImportJob | None:
    query = select(ImportJob).where(ImportJob.project_id == project, ImportJob.id == import_id).with_for_update()
    return session.scalars(query, execution_options={"populate_existing": True}).one_or_none()


def newest_first(session: Session, project: str, before: UUID | None, limit: int) -> Sequence[ImportJob]:
    query = select(ImportJob).where(ImportJob.project_id == project)
    if before is not None:
        query = query.where(ImportJob.id < before)
    return session.scalars(query.order_by(ImportJob.id.desc()).limit(limit)).all()


def count_unfinished(session: Session, project: str) -> int:
    query = select(func.count()).select_from(ImportJob).where(ImportJob.project_id == project, _UNFINISHED)
    return session.execute(query).scalar_one()


def counts(session: Session) -> Sequence[tuple[str, str, int]]:
    """Returns the number of unfinished imports by project and state."""
    query = select(ImportJob.project_id, ImportJob.state, func.count()).where(_UNFINISHED)
    rows = session.execute(query.group_by(ImportJob.project_id, ImportJob.state)).all()
    return [(project, state, number) for project, state, number in rows]


def due(session: Session, unanswered_since: datetime) -> Sequence[ImportJob]:
    """Returns the unfinished imports that no process holds, locked until the transaction ends. Skips locked rows.

    unanswered_since  workers that were asked later may still come, unless one came and was lost
    """
    at = func.clock_timestamp()
    query = select(ImportJob).where(
        _UNFINISHED,
        ImportJob.next_try_at <= at,
        or_(ImportJob.lease_expires_at.is_(None), ImportJob.lease_expires_at < at),
        or_(
            ImportJob.rung_at.is_(None),
            ImportJob.rung_at < unanswered_since,
            ImportJob.rung_at < ImportJob.next_try_at,
            ImportJob.rung_at < ImportJob.lease_expires_at,
        ),
    )
    statement = query.options(defer(ImportJob.outcomes)).order_by(ImportJob.id).with_for_update(skip_locked=True)
    return session.scalars(statement, execution_options={"populate_existing": True}).all()


def rejects_after(session: Session, import_id: UUID, number: int, limit: int) -> Sequence[ImportReject]:
    query = select(ImportReject).where(ImportReject.import_id == import_id, ImportReject.number > number)
    return session.scalars(query.order_by(ImportReject.number).limit(limit)).all()


def ended_with_file(session: Session, limit: int) -> Sequence[ImportJob]:
    """Returns imports that have ended and whose file is not deleted yet."""
    query = select(ImportJob).where(ImportJob.file_kept, ~_UNFINISHED).limit(limit).with_for_update(skip_locked=True)
    return session.scalars(query.options(defer(ImportJob.outcomes))).all()


def with_file(session: Session) -> Sequence[UUID]:
    """Returns the imports whose file is not deleted yet."""
    return session.scalars(select(ImportJob.id).where(ImportJob.file_kept)).all()


def forget(session: Session, before: datetime, *, dry_runs_before: datetime) -> None:
    """Deletes the reports of imports that ended before these times, and whose files are deleted."""
    session.execute(
        delete(ImportJob).where(
            ~ImportJob.file_kept,
            or_(ImportJob.finished_at < before, ImportJob.dry_run & (ImportJob.finished_at < dry_runs_before)),
        )
    )


def forget_texts(session: Session, project: str) -> int:
    """Empties the reports of the project's dry runs, which show texts; returns their number."""
    statement = update(ImportJob).where(ImportJob.project_id == project, ImportJob.dry_run, ImportJob.outcomes != [])
    return len(session.scalars(statement.values(outcomes=[]).returning(ImportJob.id)).all())


def remove(session: Session, import_id: UUID) -> None:
    session.execute(delete(ImportJob).where(ImportJob.id == import_id))
