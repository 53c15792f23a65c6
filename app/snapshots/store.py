"""SQL of the snapshots."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
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


_NAMED = text("""
    SELECT DISTINCT file.value FROM snapshots, LATERAL jsonb_each_text(files) AS file
    WHERE file.value = ANY(:hashes)
      AND (file.key = ANY(:kept) OR NOT EXISTS (SELECT FROM snapshot_redactions WHERE snapshot_id = snapshots.id))
""")


def named(session: Session, hashes: Collection[str], *, kept: Sequence[str]) -> set[str]:
    """Those of the hashes that are of a file of some snapshot, of whatever project; of a redacted one, of its files
    that are called so alone: it has no others."""
    return set(session.scalars(_NAMED, {"hashes": sorted(hashes), "kept": list(kept)}))


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
