"""Counts runs by state, and finds since when they wait, for all projects at once."""

from datetime import datetime

from sqlalchemy.orm import Session

from app.runs.backlog import store
from app.runs.states import RunState


def counts(session: Session) -> dict[tuple[str, RunState], int]:
    """Returns the number of runs of all projects by project and state."""
    return {(project, RunState(state)): number for project, state, number in store.counts_by_state(session)}


def queued_since(session: Session) -> dict[tuple[str, bool], datetime]:
    """Returns when the oldest queued run was requested, by project and whether it waits behind an active run."""
    return {(project, waiting): at for project, waiting, at in store.queued_since(session)}
