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
    """The run as it is now, held until the transaction ends."""
    asked = (
        select(Run).where(Run.id == run_id).with_for_update(key_share=True).execution_options(populate_existing=True)
    )
    return session.scalars(asked).one_or_none()


def active_of(session: Session, project: str) -> UUID | None:
    """The one run that is under way, or about to be; those that wait behind it are not meant."""
    asked = select(Run.id).where(Run.project_id == project, Run.state.in_(ACTIVE), ~Run.waiting)
    return session.scalars(asked).one_or_none()


def next_waiting(session: Session, project: str) -> Run | None:
    """The run that waits longest behind another one, held until the transaction ends; one that is held is left out."""
    asked = (
        select(Run)
        .where(Run.project_id == project, Run.waiting)
        .order_by(Run.id)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return session.scalars(asked, execution_options={"populate_existing": True}).one_or_none()


def stuck_projects(session: Session) -> Sequence[str]:
    """Projects whose runs wait behind none."""
    active = aliased(Run)
    under_way = exists().where(active.project_id == Run.project_id, active.state.in_(ACTIVE), ~active.waiting)
    return session.scalars(select(Run.project_id).where(Run.waiting, ~under_way).distinct()).all()


def newest_of(session: Session, project: str) -> Run | None:
    """That has had its turn."""
    asked = select(Run).where(Run.project_id == project, ~Run.waiting)
    return session.scalars(asked.order_by(Run.created_at.desc(), Run.id.desc()).limit(1)).one_or_none()


def highest_watermark(session: Session, project: str) -> int | None:
    """How far any run looked: one that begins an older one again looks no further than that did."""
    return session.scalars(select(func.max(Run.watermark)).where(Run.project_id == project, ~Run.waiting)).one()


def weights_of_sources(session: Session, run_ids: Iterable[UUID]) -> dict[UUID, tuple[str | None, str | None]]:
    """SHA-256 of the weights of the run and of its source, by the run's id, for reproductions among the runs."""
    source = aliased(Run)
    mine, theirs = aliased(Checkpoint), aliased(Checkpoint)
    asked = (
        select(Run.id, mine.weights_sha256, theirs.weights_sha256)
        .join(source, source.id == Run.source_run_id)
        .outerjoin(mine, mine.id == Run.checkpoint_id)
        .outerjoin(theirs, theirs.id == source.checkpoint_id)
        .where(is_any_of(Run.id, run_ids), Run.source == "reproduction")
    )
    return {run_id: (own, original) for run_id, own, original in session.execute(asked)}


def newest_first(session: Session, project: str, before: UUID | None, limit: int) -> Sequence[Run]:
    asked = select(Run).where(Run.project_id == project).order_by(Run.id.desc()).limit(limit)
    if before is not None:
        asked = asked.where(Run.id < before)
    return session.scalars(asked).all()


def ended_before(session: Session, run_ids: Iterable[UUID], moment: datetime) -> Sequence[UUID]:
    return session.scalars(select(Run.id).where(is_any_of(Run.id, run_ids), Run.finished_at < moment)).all()


def metrics_of(session: Session, run_id: UUID, limit: int) -> list[dict[str, Any]]:
    """At most about `limit` steps, evenly thinned, the first and the last among them, and those that measured drift.

    By the index: a run of 100,000 steps is not read whole.
    """
    ends = select(func.min(RunMetric.step), func.max(RunMetric.step)).where(RunMetric.run_id == run_id)
    found = session.execute(ends.having(func.min(RunMetric.step).is_not(None))).one_or_none()
    if found is None:
        return []
    first, last = found
    stride = -(-(last - first + 1) // limit)
    of_run = select(RunMetric.step, RunMetric.values).where(RunMetric.run_id == run_id)
    if stride == 1:
        return [values for _, values in session.execute(of_run.order_by(RunMetric.step))]
    starts = select(func.generate_series(first, last, stride).label("start")).subquery()
    within = of_run.where(RunMetric.step.between(starts.c.start, starts.c.start + stride - 1))
    firsts = within.order_by(RunMetric.step).limit(1).lateral()
    kept = [
        select(firsts).select_from(starts).join(firsts, true()),
        of_run.where(RunMetric.step == last),
        of_run.where(text(MEASURED_DRIFT)).order_by(RunMetric.step),  # the order has the planner take the small index
    ]
    steps = {step: values for asked in kept for step, values in session.execute(asked)}
    return [steps[step] for step in sorted(steps)]
