"""Snapshots: immutable datasets; the row names files that are in the artifact store already."""

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
