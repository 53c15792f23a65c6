"""SQL of the snapshots."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database import new_id, now
from app.snapshots.tables import ReferenceLogProbs, Snapshot


def insert_once(
    session: Session, project: str, *, sha256: str, watermark: int, files: Mapping[str, str], manifest: dict[str, Any]
) -> UUID:
    """The id of the project's snapshot with this hash, which is new or was there."""
    session.execute(
        insert(Snapshot)
        .values(
            id=new_id(),
            project_id=project,
            sha256=sha256,
            watermark=watermark,
            files=dict(files),
            manifest=manifest,
            created_at=now(),
        )
        .on_conflict_do_nothing(index_elements=["project_id", "sha256"])
    )
    query = select(Snapshot.id).where(Snapshot.project_id == project, Snapshot.sha256 == sha256)
    return session.execute(query).scalar_one()


def find(session: Session, snapshot_id: UUID) -> Snapshot | None:
    return session.get(Snapshot, snapshot_id)


def insert_log_probs_once(session: Session, snapshot_id: UUID, sha256: str, reference_checkpoint_id: UUID) -> None:
    session.execute(
        insert(ReferenceLogProbs)
        .values(
            snapshot_id=snapshot_id, sha256=sha256, reference_checkpoint_id=reference_checkpoint_id, created_at=now()
        )
        .on_conflict_do_nothing()
    )


def log_probs_of(session: Session, reference_checkpoint_id: UUID, *, first_of: UUID, limit: int) -> Sequence[str]:
    """Hashes of the newest files, those about the snapshot `first_of` before all others."""
    of_it = ReferenceLogProbs.snapshot_id == first_of
    return session.scalars(
        select(ReferenceLogProbs.sha256)
        .where(ReferenceLogProbs.reference_checkpoint_id == reference_checkpoint_id)
        .order_by(of_it.desc(), ReferenceLogProbs.created_at.desc(), ReferenceLogProbs.sha256)
        .limit(limit)
    ).all()
