"""Repeats ended runs as new runs, decided by the configuration, recipe, watermark and reference of the first run.

retry      repeats a failed or cancelled run; it continues from the saved progress if the working folder still exists
reproduce  repeats a run that has a snapshot from the beginning, with the recipe that the first run used
"""

from typing import Literal
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.errors import Conflict
from app.projects import service as projects
from app.runs import decision, states
from app.runs import service as runs
from app.runs.states import Command, RunState
from app.runs.tables import Run
from app.snapshots.reading import service as reading


def retry(session: Session, project: str, run_id: UUID, again: wire.RunAgain, by: str) -> wire.Run:
    """Queues a retry of the run, and returns the new run.

    Raises `NotFound`; `Conflict` if the run has not ended or has succeeded, its snapshot was redacted, or another run
    is active; and `Refused` if it has no snapshot and the label policy now requires an audit that is missing.
    """
    before = _ended(session, project, run_id, Command.RETRY)
    if before.snapshot_id is None:
        decision.require_audited(session, project)
    return _begin(session, before, again, by, "retry", "retried")


def reproduce(session: Session, project: str, run_id: UUID, again: wire.RunAgain, by: str) -> wire.Run:
    """Queues a reproduction of the run, and returns the new run.

    Raises `NotFound`, and `Conflict` if the run has not ended, its snapshot is missing or redacted, or another run is
    active.
    """
    before = _ended(session, project, run_id, Command.REPRODUCE)
    if before.snapshot_id is None:
        raise Conflict(
            f"Run {run_id} ended before it had a snapshot, so there is nothing to reproduce: retry it.",
            code="no_snapshot",
        )
    return _begin(session, before, again, by, "reproduction", "reproduced")


def _ended(session: Session, project: str, run_id: UUID, command: Command) -> Run:
    row = runs.require_locked(session, project, run_id)
    states.require_command(RunState(row.state), command)
    return row


def _begin(
    session: Session,
    before: Run,
    again: wire.RunAgain,
    by: str,
    source: Literal["retry", "reproduction"],
    done: str,
) -> wire.Run:
    project = before.project_id
    projects.lock(session, project)
    projects.require_open(session, project)
    if before.snapshot_id is not None:
        _require_whole(session, project, before.id, before.snapshot_id, done)
    decided = {
        "configuration": before.configuration,
        "recipe": before.recipe,
        "changes": before.changes,
        "watermark": before.watermark,
        "reference_checkpoint_id": before.reference_checkpoint_id,
        "snapshot_id": before.snapshot_id,
        "suites": before.suites,
        "source_run_id": before.id,
        "source": source,
    }
    trigger = f"{source} of run {before.id}, requested by {by}"
    return runs.enqueue(session, project, decided, by, trigger, note=again.note, queue=again.queue)


def _require_whole(session: Session, project: str, run_id: UUID, snapshot_id: UUID, done: str) -> None:
    """Raises `Conflict` if rows of the snapshot were deleted by an erasure or by retention."""
    snapshot = reading.get(session, project, snapshot_id)
    if snapshot.redacted_at is not None:
        raise Conflict(
            f"Run {run_id} cannot be {done}: rows of its snapshot {snapshot_id} were deleted at "
            f"{snapshot.redacted_at:%Y-%m-%d %H:%M} UTC. Start a new run, which learns from what is left.",
            code="snapshot_redacted",
            details={"snapshot_id": str(snapshot_id)},
        )
