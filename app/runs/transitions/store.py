"""SQL of the histories of runs."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from app.database import is_any_of
from app.runs.states import RunState
from app.runs.tables import Run, RunTransition


def add(session: Session, values: dict[str, Any]) -> None:
    session.execute(insert(RunTransition).values(**values))


def of_runs(session: Session, run_ids: Iterable[UUID]) -> Sequence[RunTransition]:
    """Returns the transitions of the runs, oldest first."""
    statement = select(RunTransition).where(is_any_of(RunTransition.run_id, run_ids)).order_by(RunTransition.id)
    return session.scalars(statement).all()


def move(session: Session, run_id: UUID, before: RunState, after: RunState, values: dict[str, Any]) -> bool:
    """Moves the run from state `before` to `after`. Returns whether it was in `before`."""
    statement = update(Run).where(Run.id == run_id, Run.state == before).values(state=after, **values)
    return session.execute(statement.returning(Run.id)).one_or_none() is not None
