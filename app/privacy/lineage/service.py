"""Finds what was made from snapshots: runs, checkpoints, and the periods in which these were live."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.privacy.lineage import store


def with_predecessors(session: Session, snapshot_ids: Collection[UUID]) -> list[UUID]:
    """Returns the snapshots and the predecessors that redactions replaced by them, which had the same rows and more."""
    return store.with_predecessors(session, snapshot_ids)


def runs_on(
    session: Session, project: str, snapshot_ids: Collection[UUID], *, active: bool = False
) -> list[wire.TouchedRun]:
    """Returns the runs on these snapshots, oldest first. `active`: only runs that have not ended."""
    rows = store.runs_on(session, project, snapshot_ids, active=active)
    return [wire.TouchedRun(run_id=row.run_id, state=row.state, snapshot_id=row.snapshot_id) for row in rows]


def ended_on_redacted(session: Session, run_ids: Collection[UUID]) -> list[UUID]:
    """Returns the runs that have ended and whose snapshot was redacted."""
    return store.ended_on_redacted(session, run_ids)


def checkpoints_of(session: Session, project: str, snapshot_ids: Collection[UUID]) -> list[wire.TouchedCheckpoint]:
    """Returns the checkpoints trained on these snapshots, and those that continue from one of them, oldest first."""
    rows = store.checkpoints_of(session, project, snapshot_ids)
    live: dict[UUID, list[wire.LivePeriod]] = {row.checkpoint_id: [] for row in rows}
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
        for row in rows
    ]
