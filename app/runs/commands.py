"""What is asked of a run that has not ended: to end, to pause, to go on. What has ended may be begun again: `again`."""

from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.runs import service as runs
from app.runs import states
from app.runs.states import Command, RunState


def cancel(session: Session, project: str, run_id: UUID, by: str) -> wire.Run:
    """Have the run end; its worker sees it within a second or two. Once more changes nothing.

    Raises `NotFound`, and `Conflict` where the run has ended otherwise.
    """
    row = runs.require_locked(session, project, run_id)
    state = RunState(row.state)
    if state not in (RunState.CANCELLING, RunState.CANCELLED):
        reason = f"cancelled by {by}"
        if state is not RunState.QUEUED:
            runs.move(session, row, RunState.CANCELLING, by, reason, {"reason": reason, "paused": False})
        if row.lease_expires_at is None:  # no worker has it
            runs.end(session, row, RunState.CANCELLED, by, reason)
    return runs.get(session, project, run_id)


def pause(session: Session, project: str, run_id: UUID, by: str) -> wire.Run:
    """Keep workers away from the run; one that has it gives it back within a step. Once more changes nothing.

    Raises `NotFound`, and `Conflict` where the run has ended or is about to.
    """
    row = runs.require_locked(session, project, run_id)
    states.require_command(RunState(row.state), Command.PAUSE)
    if not row.paused:
        row.paused = True
        runs.note(session, row, by, f"paused by {by}")
    return runs.get(session, project, run_id)


def resume(session: Session, project: str, run_id: UUID, by: str) -> wire.Run:
    """Lets a paused run go on, and tries one at once that waits for room on a disk; any other one stays as it is.
    Raises as `pause`.
    """
    row = runs.require_locked(session, project, run_id)
    states.require_command(RunState(row.state), Command.RESUME)
    if row.paused or row.next_attempt_at is not None:
        row.paused, row.next_attempt_at = False, None
        runs.note(session, row, by, f"resumed by {by}")
        if not row.waiting and row.lease_expires_at is None:  # else its worker rings when it gives the run back
            runs.ring(session, row)
    return runs.get(session, project, run_id)
