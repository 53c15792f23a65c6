"""SQL that reads snapshots, each with its redaction if it has one."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.snapshots.tables import Snapshot, SnapshotRedaction

Read = tuple[Snapshot, SnapshotRedaction | None]

_WITH_REDACTION = select(Snapshot, SnapshotRedaction).outerjoin(
    SnapshotRedaction, SnapshotRedaction.snapshot_id == Snapshot.id
)


def of_id(session: Session, project: str, snapshot_id: UUID) -> Read | None:
    query = _WITH_REDACTION.where(Snapshot.project_id == project, Snapshot.id == snapshot_id)
    for snapshot, redaction in session.execute(query):
        return snapshot, redaction
    return None


def newest_first(session: Session, project: str, before: UUID | None, limit: int) -> Sequence[Read]:
    query = _WITH_REDACTION.where(Snapshot.project_id == project).order_by(Snapshot.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Snapshot.id < before)
    return [(snapshot, redaction) for snapshot, redaction in session.execute(query)]
