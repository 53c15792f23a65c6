"""SQL of redactions."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select, text
from sqlalchemy.orm import Session

from app.database import is_any_of
from app.snapshots.tables import ReferenceLogProbs, Snapshot, SnapshotRedaction


def live(session: Session, project: str) -> Sequence[Snapshot]:
    """Returns the snapshots that were not redacted, oldest first."""
    redacted = select(SnapshotRedaction.snapshot_id)
    query = select(Snapshot).where(Snapshot.project_id == project, Snapshot.id.not_in(redacted))
    return session.scalars(query.order_by(Snapshot.created_at, Snapshot.id)).all()


def live_after(session: Session, project: str, after: UUID | None, limit: int) -> Sequence[Snapshot]:
    """Returns snapshots that were not redacted, in the order of their ids and so the oldest first."""
    redacted = select(SnapshotRedaction.snapshot_id)
    query = select(Snapshot).where(Snapshot.project_id == project, Snapshot.id.not_in(redacted))
    if after is not None:
        query = query.where(Snapshot.id > after)
    return session.scalars(query.order_by(Snapshot.id).limit(limit)).all()


def redaction_of(session: Session, snapshot_id: UUID) -> SnapshotRedaction | None:
    return session.get(SnapshotRedaction, snapshot_id)


def add_redaction(session: Session, values: Mapping[str, Any]) -> SnapshotRedaction:
    return session.scalars(insert(SnapshotRedaction).values(**values).returning(SnapshotRedaction)).one()


def forget_log_probs(session: Session, snapshot_id: UUID) -> list[str]:
    """Deletes the rows of log-probs about this snapshot; returns the hashes of files that no other snapshot has."""
    gone = session.scalars(
        delete(ReferenceLogProbs)
        .where(ReferenceLogProbs.snapshot_id == snapshot_id)
        .returning(ReferenceLogProbs.sha256)
    ).all()
    left = session.scalars(select(ReferenceLogProbs.sha256).where(is_any_of(ReferenceLogProbs.sha256, gone))).all()
    return sorted(set(gone) - set(left))


_DELETABLE = """
    SELECT DISTINCT file.value
    FROM snapshots JOIN snapshot_redactions ON snapshot_id = snapshots.id, LATERAL jsonb_each_text(files) AS file
    WHERE project_id = :project AND file.key <> ALL(:kept)
      AND NOT EXISTS (
          SELECT FROM snapshots AS other, LATERAL jsonb_each_text(other.files) AS theirs
          WHERE theirs.value = file.value AND NOT EXISTS (SELECT FROM snapshot_redactions WHERE snapshot_id = other.id))
"""


def files_of_redacted(session: Session, project: str, kept: Sequence[str]) -> Sequence[str]:
    """Returns the hashes of files that only redacted snapshots have, except for files named in `kept`."""
    return session.scalars(text(_DELETABLE), {"project": project, "kept": list(kept)}).all()


def lock(session: Session, snapshot_id: UUID) -> None:
    """Waits for transactions that register a checkpoint of this snapshot, and makes later ones wait."""
    session.execute(select(Snapshot.id).where(Snapshot.id == snapshot_id).with_for_update())


_WITH_PREDECESSORS = text("""
    WITH RECURSIVE lineage AS (
        SELECT CAST(:snapshot_id AS uuid) AS id
        UNION SELECT snapshot_id FROM snapshot_redactions JOIN lineage ON successor_id = lineage.id)
    SELECT id FROM lineage
""")


def with_predecessors(session: Session, snapshot_id: UUID) -> Sequence[UUID]:
    """Returns the snapshot and the redacted ones that it replaced, directly or through others."""
    return session.scalars(_WITH_PREDECESSORS, {"snapshot_id": snapshot_id}).all()
