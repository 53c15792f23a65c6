"""SQL of runs."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, insert, select, text, true
from sqlalchemy.orm import Session, aliased

from app.checkpoints.tables import Checkpoint
from app.database import is_any_of
from app.runs.states import ACTIVE
from app.runs.tables import MEASURED_DRIFT, Run, RunMetric


def insert_run(session: Session, values: dict[str, Any]) -> Run:
    return session.scalars(insert(Run).values(**values).returning(Run)).one()


def of_id(session: Session, project: str, run_id: UUID) -> Run | None:
    return session.scalars(select(Run).where(Run.id == run_id, Run.project_id == project)).one_or_none()


def locked(session: Session, run_id: UUID) -> Run | None:
    """Returns the current row of the run, locked until the transaction ends; None if there is none."""
    statement = (
        select(Run).where(Run.id == run_id).with_for_update(key_share=True).execution_options(populate_existing=True)
    )
    return session.scalars(statement).one_or_none()


def active_of(session: Session, project: str) -> UUID | None:
    """Returns the id of the active run of the project; None if there is none. Runs that wait are not active."""
    statement = select(Run.id).where(Run.project_id == project, Run.state.in_(ACTIVE), ~Run.waiting)
    return session.scalars(statement).one_or_none()


def next_waiting(session: Session, project: str) -> Run | None:
    """Returns the longest waiting run of the project, locked until the transaction ends. Skips locked rows."""
    statement = (
        select(Run)
        .where(Run.project_id == project, Run.waiting)
        .order_by(Run.id)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return session.scalars(statement, execution_options={"populate_existing": True}).one_or_none()


def stuck_projects(session: Session) -> Sequence[str]:
    """Returns the projects that have waiting runs but no active one."""
    active = aliased(Run)
    under_way = exists().where(active.project_id == Run.project_id, active.state.in_(ACTIVE), ~active.waiting)
    return session.scalars(select(Run.project_id).where(Run.waiting, ~under_way).distinct()).all()


def newest_of(session: Session, project: str) -> Run | None:
    """Returns the newest run of the project that has had its turn, without the runs of comparisons."""
    statement = select(Run).where(Run.project_id == project, ~Run.waiting, Run.group_id.is_(None))
    return session.scalars(statement.order_by(Run.created_at.desc(), Run.id.desc()).limit(1)).one_or_none()


def highest_watermark(session: Session, project: str) -> int | None:
    """Returns the highest watermark of the runs that have had their turn, without those of comparisons. A retry keeps
    that of its source.
    """
    had_turn = Run.project_id == project, ~Run.waiting, Run.group_id.is_(None)
    return session.scalars(select(func.max(Run.watermark)).where(*had_turn)).one()


def weights_of_sources(session: Session, run_ids: Iterable[UUID]) -> dict[UUID, tuple[str | None, str | None]]:
    """Returns, for each reproduction among the runs, the SHA-256 of its own weights and of those of its source."""
    source = aliased(Run)
    own, original = aliased(Checkpoint), aliased(Checkpoint)
    statement = (
        select(Run.id, own.weights_sha256, original.weights_sha256)
        .join(source, source.id == Run.source_run_id)
        .outerjoin(own, own.id == Run.checkpoint_id)
        .outerjoin(original, original.id == source.checkpoint_id)
        .where(is_any_of(Run.id, run_ids), Run.source == "reproduction")
    )
    return {run_id: (own_sha256, original_sha256) for run_id, own_sha256, original_sha256 in session.execute(statement)}


def newest_first(session: Session, project: str, before: UUID | None, limit: int) -> Sequence[Run]:
    statement = select(Run).where(Run.project_id == project).order_by(Run.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(Run.id < before)
    return session.scalars(statement).all()


def ended_before(session: Session, run_ids: Iterable[UUID], moment: datetime) -> Sequence[UUID]:
    return session.scalars(select(Run.id).where(is_any_of(Run.id, run_ids), Run.finished_at < moment)).all()


def metrics_of(session: Session, run_id: UUID, limit: int) -> list[dict[str, Any]]:
    """Returns about `limit` steps, evenly thinned, with the first one, the last one and all that measured drift.

    Uses the index, so that a run of 100,000 steps is not read completely.
    """
    ends = select(func.min(RunMetric.step), func.max(RunMetric.step)).where(RunMetric.run_id == run_id)
    bounds = session.execute(ends.having(func.min(RunMetric.step).is_not(None))).one_or_none()
    if bounds is None:
        return []
    first, last = bounds
    stride = -(-(last - first + 1) // limit)
    of_run = select(RunMetric.step, RunMetric.values).where(RunMetric.run_id == run_id)
    if stride == 1:
        return [values for _, values in session.execute(of_run.order_by(RunMetric.step))]
    starts = select(func.generate_series(first, last, stride).label("start")).subquery()
    within = of_run.where(RunMetric.step.between(starts.c.start, starts.c.start + stride - 1))
    firsts = within.order_by(RunMetric.step).limit(1).lateral()
    statements = [
        select(firsts).select_from(starts).join(firsts, true()),
        of_run.where(RunMetric.step == last),
        of_run.where(text(MEASURED_DRIFT)).order_by(RunMetric.step),  # the order makes the planner use the small index
    ]
    steps = {step: values for statement in statements for step, values in session.execute(statement)}
    return [steps[step] for step in sorted(steps)]
