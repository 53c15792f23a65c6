"""SQL of streams: how a run stands, and what was written of it behind a number.

Transitions and metrics have their numbers from one sequence, and whoever writes one holds the run's row: of one run, a
higher number is committed later.
"""

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.runs.tables import Run, RunMetric, RunTransition

Written = RunTransition | RunMetric


def number_of(row: Written) -> int:
    return row.id if isinstance(row, RunTransition) else row.number


def standing(session: Session, run_id: UUID) -> tuple[Run, int] | None:
    """The run, and the highest number that was written of it; None where there is none."""
    transitions = select(func.max(RunTransition.id)).where(RunTransition.run_id == Run.id).scalar_subquery()
    metrics = select(func.max(RunMetric.number)).where(RunMetric.run_id == Run.id).scalar_subquery()
    found = session.execute(
        select(Run, func.coalesce(func.greatest(transitions, metrics), 0)).where(Run.id == run_id)
    ).one_or_none()
    return None if found is None else (found[0], found[1])


def written_after(session: Session, run_id: UUID, number: int, limit: int) -> list[Written]:
    """Transitions and metrics behind `number`, in the order in which they were written."""
    transitions = (
        select(RunTransition)
        .where(RunTransition.run_id == run_id, RunTransition.id > number)
        .order_by(RunTransition.id)
        .limit(limit)
    )
    metrics = (
        select(RunMetric)
        .where(RunMetric.run_id == run_id, RunMetric.number > number)
        .order_by(RunMetric.number)
        .limit(limit)
    )
    both: list[Written] = [*session.scalars(transitions), *session.scalars(metrics)]
    return sorted(both, key=number_of)[:limit]
