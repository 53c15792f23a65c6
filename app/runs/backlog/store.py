"""SQL of how many runs there are, and which wait."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.runs.states import RunState
from app.runs.tables import Run


def counts_by_state(session: Session) -> Sequence[tuple[str, str, int]]:
    """Returns project, state and number of the runs of all projects."""
    query = select(Run.project_id, Run.state, func.count()).group_by(Run.project_id, Run.state)
    return session.execute(query).tuples().all()


def queued_since(session: Session) -> Sequence[tuple[str, bool, datetime]]:
    """Returns, by project, when the oldest queued run was requested, of those that wait for the active run (true), and
    of those that a worker could claim. Paused runs wait for an operator.
    """
    query = select(Run.project_id, Run.waiting, func.min(Run.created_at))
    queued = query.where(Run.state == RunState.QUEUED, ~Run.paused).group_by(Run.project_id, Run.waiting)
    return session.execute(queued).tuples().all()
