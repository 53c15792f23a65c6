"""SQL of streams: the current state of a run, and the rows of its history and metrics after a number.

Transitions and metrics have their numbers from one sequence, and their writers hold the row of the run. So, within one
run, a higher number is committed later.
"""

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.runs.tables import Run, RunMetric, RunTransition

Written = RunTransition | RunMetric


def number_of(row: Written) -> int:
    return row.id if isinstance(row, RunTransition) else row.number


def standing(session: Session, run_id: UUID) -> tuple[Run, int] | None:
    """Returns the run, and the highest number among its history and metrics; None if there is no such run."""
    transitions = select(func.max(RunTransition.id)).where(RunTransition.run_id == Run.id).scalar_subquery()
    metrics = select(func.max(RunMetric.number)).where(RunMetric.run_id == Run.id).scalar_subquery()
    row = session.execute(
        select(Run, func.coalesce(func.greatest(transitions, metrics), 0)).where(Run.id == run_id)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def written_after(session: Session, run_id: UUID, number: int, limit: int) -> list[Written]:
    """Returns the transitions and metrics after `number`, in the order in which they were written."""
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
