"""SQL of comparison jobs and their runs."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from app.database import is_any_of
from app.runs.tables import ComparisonJob, Run


def insert_job(session: Session, values: dict[str, Any]) -> ComparisonJob:
    return session.scalars(insert(ComparisonJob).values(**values).returning(ComparisonJob)).one()


def of_id(session: Session, project: str, job_id: UUID) -> ComparisonJob | None:
    statement = select(ComparisonJob).where(ComparisonJob.id == job_id, ComparisonJob.project_id == project)
    return session.scalars(statement).one_or_none()


def locked(session: Session, job_id: UUID) -> ComparisonJob | None:
    """Returns the current row of the job, locked until the transaction ends. Runs can still be inserted into it."""
    statement = select(ComparisonJob).where(ComparisonJob.id == job_id).with_for_update(key_share=True)
    return session.scalars(statement, execution_options={"populate_existing": True}).one_or_none()


def newest_first(session: Session, project: str, before: UUID | None, limit: int) -> Sequence[ComparisonJob]:
    statement = select(ComparisonJob).where(ComparisonJob.project_id == project)
    if before is not None:
        statement = statement.where(ComparisonJob.id < before)
    return session.scalars(statement.order_by(ComparisonJob.id.desc()).limit(limit)).all()


def running(session: Session) -> Sequence[UUID]:
    """Returns the ids of the jobs that have not ended, oldest first."""
    statement = select(ComparisonJob.id).where(ComparisonJob.state == "running")
    return session.scalars(statement.order_by(ComparisonJob.id)).all()


def snapshots_of_running(session: Session, project: str) -> set[UUID]:
    """Returns the snapshots of the project's jobs that have not ended."""
    statement = select(ComparisonJob.snapshot_id).where(
        ComparisonJob.project_id == project, ComparisonJob.state == "running", ComparisonJob.snapshot_id.is_not(None)
    )
    return {snapshot_id for snapshot_id in session.scalars(statement) if snapshot_id is not None}


def count_running(session: Session, project: str) -> int:
    statement = select(func.count()).where(ComparisonJob.project_id == project, ComparisonJob.state == "running")
    return session.scalars(statement).one()


def runs_of(session: Session, job_ids: Iterable[UUID]) -> Sequence[Run]:
    """Returns the runs of the jobs, in the order of their trials."""
    statement = select(Run).where(is_any_of(Run.group_id, job_ids)).order_by(Run.group_id, Run.group_position)
    return session.scalars(statement, execution_options={"populate_existing": True}).all()
