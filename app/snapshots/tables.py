"""Snapshots: immutable datasets; the rows name files that are in the artifact store already."""

from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Id, Time


class Snapshot(Base):
    __tablename__ = "snapshots"

    id: Mapped[Id]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    sha256: Mapped[str] = mapped_column(String(64), comment="of the manifest, which names the hash of every shard")
    watermark: Mapped[int] = mapped_column(BigInteger, comment="position of the last event that was looked at")
    files: Mapped[Document] = mapped_column(comment="path -> sha256")
    manifest: Mapped[Document]
    created_at: Mapped[Time]

    __table_args__ = (UniqueConstraint("project_id", "sha256"),)


class ReferenceLogProbs(Base):
    """A file of log-probs that a reference gave the snapshot's training rows; it speaks of no other rows.

    Whoever deletes the snapshot has to delete these first, and so comes past the files.
    """

    __tablename__ = "reference_log_probs"

    snapshot_id: Mapped[UUID] = mapped_column(ForeignKey("snapshots.id"), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    reference_checkpoint_id: Mapped[UUID] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    created_at: Mapped[Time]
