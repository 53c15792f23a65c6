"""Ended runs begun again, as runs of their own: what decided the first one decides the second one.

retry      of one that failed or was cancelled; where its working folder still lies, it goes on from the saved state
reproduce  of one with a snapshot; it begins again, by the recipe that the first one trained by
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
from app.snapshots.reading import service as snapshots


def retry(session: Session, project: str, run_id: UUID, again: wire.RunAgain, by: str) -> wire.Run:
    """Raises `NotFound`, `Conflict` where the run goes on or has succeeded, its snapshot was redacted, or a run is
    active, and `Refused` where it has no snapshot and an audit of the labels is asked for by now.
    """
    before = _ended(session, project, run_id, Command.RETRY)
    if before.snapshot_id is None:
        decision.require_audited(session, project)
    return _begin(session, before, again, by, "retry", "retried")


def reproduce(session: Session, project: str, run_id: UUID, again: wire.RunAgain, by: str) -> wire.Run:
    """Raises `NotFound`, `Conflict` where the run goes on, it has no snapshot or that was redacted, or a run is
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
        "source_run_id": before.id,
        "source": source,
    }
    trigger = f"{source} of run {before.id}, asked for by {by}"
    return runs.enqueue(session, project, decided, by, trigger, note=again.note, queue=again.queue)


def _require_whole(session: Session, project: str, run_id: UUID, snapshot_id: UUID, done: str) -> None:
    """Raises `Conflict` where rows of the snapshot are gone."""
    snapshot = snapshots.get(session, project, snapshot_id)
    if snapshot.redacted_at is not None:
        raise Conflict(
            f"Run {run_id} cannot be {done}: somebody was erased from its snapshot {snapshot_id} at "
            f"{snapshot.redacted_at:%Y-%m-%d %H:%M} UTC. Start a new run, which learns from what is left.",
            code="snapshot_redacted",
            details={"snapshot_id": str(snapshot_id)},
        )
