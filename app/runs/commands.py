"""Commands for a run that has not ended: cancel, pause and resume. `app.runs.again` repeats a run that has ended."""

from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.runs import service as runs
from app.runs import states
from app.runs.states import Command, RunState, TransitionKind
from app.runs.transitions import service as transitions


def cancel(session: Session, project: str, run_id: UUID, by: str) -> wire.Run:
    """Ends the run at once, or lets its worker end it within a second or two. A second call changes nothing.

    Raises `NotFound`, and `Conflict` if the run has succeeded or failed.
    """
    row = runs.require_locked(session, project, run_id)
    states.require_command(RunState(row.state), Command.CANCEL)
    reason = f"cancelled by {by}"
    if row.lease_owner is None and row.state != RunState.CANCELLED:
        runs.end(session, row, RunState.CANCELLED, by, reason)
    elif row.state not in (RunState.CANCELLING, RunState.CANCELLED):
        values = {"reason": reason, "paused": False}
        transitions.move(session, row, RunState.CANCELLING, TransitionKind.CANCELLING, by, reason, values)
    return runs.get(session, project, run_id)


def pause(session: Session, project: str, run_id: UUID, by: str) -> wire.Run:
    """Keeps workers away from the run. A worker that holds it gives it back within a step.

    A second call changes nothing. Raises `NotFound`, and `Conflict` if the run has ended or is being cancelled.
    """
    row = runs.require_locked(session, project, run_id)
    states.require_command(RunState(row.state), Command.PAUSE)
    if not row.paused:
        row.paused = True
        transitions.note(session, row, TransitionKind.PAUSED, by, f"paused by {by}")
    return runs.get(session, project, run_id)


def resume(session: Session, project: str, run_id: UUID, by: str) -> wire.Run:
    """Lets a paused run continue. A run that waits for room on a disk is tried at once. Any other run does not
    change. Raises the errors of `pause`.
    """
    row = runs.require_locked(session, project, run_id)
    states.require_command(RunState(row.state), Command.RESUME)
    if row.paused or row.next_attempt_at is not None:
        row.paused, row.next_attempt_at = False, None
        transitions.note(session, row, TransitionKind.RESUMED, by, f"resumed by {by}")
        if not row.waiting and row.lease_expires_at is None:  # otherwise its worker rings when it gives the run back
            runs.ring(session, row)
    return runs.get(session, project, run_id)
