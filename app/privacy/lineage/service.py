"""What was made of snapshots: runs, checkpoints, and when these were live."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.privacy.lineage import store


def with_predecessors(session: Session, snapshot_ids: Collection[UUID]) -> list[UUID]:
    """The snapshots, and those whose redactions led to them: these had the same rows, and more."""
    return store.with_predecessors(session, snapshot_ids)


def runs_on(
    session: Session, project: str, snapshot_ids: Collection[UUID], *, active: bool = False
) -> list[wire.TouchedRun]:
    """Runs on these snapshots, oldest first; `active`: only those that go on."""
    found = store.runs_on(session, project, snapshot_ids, active=active)
    return [wire.TouchedRun(run_id=row.run_id, state=row.state, snapshot_id=row.snapshot_id) for row in found]


def ended_on_redacted(session: Session, run_ids: Collection[UUID]) -> list[UUID]:
    """Those of the runs that have ended, and whose snapshot was redacted since it was made."""
    return store.ended_on_redacted(session, run_ids)


def checkpoints_of(session: Session, project: str, snapshot_ids: Collection[UUID]) -> list[wire.TouchedCheckpoint]:
    """Checkpoints that were trained on these snapshots, or continue from one that was; oldest first."""
    found = store.checkpoints_of(session, project, snapshot_ids)
    live: dict[UUID, list[wire.LivePeriod]] = {row.checkpoint_id: [] for row in found}
    for period in store.periods(session, project, list(live)):
        live[period.checkpoint_id].append(wire.LivePeriod(since=period.since, until=period.until))
    return [
        wire.TouchedCheckpoint(
            checkpoint_id=row.checkpoint_id,
            run_id=row.run_id,
            snapshot_id=row.snapshot_id,
            itself=row.itself,
            live=live[row.checkpoint_id],
        )
        for row in found
    ]
