"""SQL of runs."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.orm import Session

from app.runs.states import ACTIVE, RunState
from app.runs.tables import Run, RunMetric, RunTransition


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
    return session.scalars(select(Run.id).where(Run.project_id == project, Run.state.in_(ACTIVE))).one_or_none()


def newest_of(session: Session, project: str) -> Run | None:
    asked = select(Run).where(Run.project_id == project).order_by(Run.created_at.desc(), Run.id.desc()).limit(1)
    return session.scalars(asked).one_or_none()


def newest_first(session: Session, project: str, before: UUID | None, limit: int) -> Sequence[Run]:
    asked = select(Run).where(Run.project_id == project).order_by(Run.id.desc()).limit(limit)
    if before is not None:
        asked = asked.where(Run.id < before)
    return session.scalars(asked).all()


def transitions_of(session: Session, run_ids: Iterable[UUID]) -> Sequence[RunTransition]:
    """Oldest first."""
    asked = select(RunTransition).where(RunTransition.run_id.in_(list(run_ids))).order_by(RunTransition.id)
    return session.scalars(asked).all()


def add_transition(
    session: Session, run_id: UUID, before: RunState | None, after: RunState, by: str, reason: str
) -> None:
    values = {"run_id": run_id, "from_state": before, "to_state": after, "by": by, "reason": reason}
    session.execute(insert(RunTransition).values(**values))


def move(session: Session, run_id: UUID, before: RunState, after: RunState, values: dict[str, Any]) -> bool:
    """Whether the run was in state `before`, and is in `after` now."""
    statement = update(Run).where(Run.id == run_id, Run.state == before).values(state=after, **values)
    return session.execute(statement.returning(Run.id)).one_or_none() is not None


def metrics_of(session: Session, run_id: UUID, limit: int) -> list[dict[str, Any]]:
    """At most about `limit` steps, evenly thinned, the first and the last among them, and those that measured drift."""
    count, last = session.execute(
        select(func.count(), func.max(RunMetric.step)).where(RunMetric.run_id == run_id)
    ).one()
    stride = max(1, -(-count // limit))
    drift = RunMetric.values["kl_nats_per_token"].as_float()
    kept = or_((RunMetric.step - 1) % stride == 0, RunMetric.step == last, drift.is_not(None))
    asked = select(RunMetric.values).where(RunMetric.run_id == run_id, kept).order_by(RunMetric.step)
    return list(session.scalars(asked))
