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
    """Inserts the project's snapshot unless it has one with this hash, and returns the id of that snapshot."""
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


def has(session: Session, project: str, sha256: str) -> bool:
    """Returns whether the project has a snapshot with this hash."""
    query = select(Snapshot.id).where(Snapshot.project_id == project, Snapshot.sha256 == sha256)
    return session.execute(query).first() is not None


def exist(session: Session, project: str) -> bool:
    return session.execute(select(Snapshot.id).where(Snapshot.project_id == project).limit(1)).first() is not None


def find(session: Session, snapshot_id: UUID) -> Snapshot | None:
    return session.get(Snapshot, snapshot_id)


_NAMED = text("""
    SELECT DISTINCT file.value FROM snapshots, LATERAL jsonb_each_text(files) AS file
    WHERE file.value = ANY(:hashes)
      AND (file.key = ANY(:kept) OR NOT EXISTS (SELECT FROM snapshot_redactions WHERE snapshot_id = snapshots.id))
""")


def named(session: Session, hashes: Collection[str], *, kept: Sequence[str]) -> set[str]:
    """Returns the hashes that belong to a file of a snapshot of any project. A redacted snapshot has only the files
    named in `kept`."""
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
    """Returns the hashes of the newest files, those about the snapshot `first_of` first."""
    is_about_it = ReferenceLogProbs.snapshot_id == first_of
    return session.scalars(
        select(ReferenceLogProbs.sha256)
        .where(ReferenceLogProbs.reference_checkpoint_id == reference_checkpoint_id)
        .order_by(is_about_it.desc(), ReferenceLogProbs.created_at.desc(), ReferenceLogProbs.sha256)
        .limit(limit)
    ).all()
