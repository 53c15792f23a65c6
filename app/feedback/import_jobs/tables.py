"""The tables of uploaded imports. The row is the job: its lease decides which process may go on with it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, DateTime, ForeignKey, Index, Integer, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Id, Time, now


class ImportJob(Base):
    """An uploaded file, and how far its import has come.

    Position, outcomes and rejected records are written together, so that a process that continues counts nothing twice.
    """

    __tablename__ = "imports"

    id: Mapped[Id]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(String(200))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    fingerprint: Mapped[str] = mapped_column(String(64), comment="of content and options: equal ones are one import")
    options: Mapped[Document] = mapped_column(comment="wire.ImportOptions")
    limits: Mapped[list[Any]] = mapped_column(JSONB, comment="of the key, in events a minute: name, of, quota")
    dry_run: Mapped[bool] = mapped_column(Boolean)
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String)
    created_at: Mapped[Time]
    created_by: Mapped[str] = mapped_column(String(200))
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    file_kept: Mapped[bool] = mapped_column(Boolean, default=True, comment="whether the store may still have the file")

    files_done: Mapped[int] = mapped_column(Integer, default=0, comment="members of an archive; 1: a file alone")
    items_done: Mapped[int] = mapped_column(BigInteger, default=0, comment="of the file after those")
    rows: Mapped[int] = mapped_column(BigInteger, default=0, comment="items of all files that were dealt with")
    bytes_done: Mapped[int] = mapped_column(BigInteger, default=0)
    outcomes: Mapped[list[Any]] = mapped_column(JSONB, default=list, comment="by file, as ImportOutcome.document")
    rejects: Mapped[int] = mapped_column(Integer, default=0, comment="rows of import_rejects")
    counted_at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), comment="by Postgres's clock: what the log got later is not counted yet"
    )

    attempts: Mapped[int] = mapped_column(Integer, default=0, comment="claims since the last progress")
    next_try_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)
    rung_at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), comment="when workers were last asked to look at it"
    )
    lease_owner: Mapped[str | None] = mapped_column(String(200))
    lease_epoch: Mapped[int] = mapped_column(Integer, default=0)
    lease_expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="state"),
        CheckConstraint("(finished_at IS NULL) = (state IN ('queued', 'running'))", name="ends"),
        Index("ix_imports_project_id_id", "project_id", "id"),
        Index("ix_imports_unfinished", "next_try_at", postgresql_where=text("finished_at IS NULL")),
        Index("ix_imports_file_kept", "finished_at", postgresql_where=text("file_kept")),
        Index(
            "ix_imports_one_per_fingerprint",
            "project_id",
            "fingerprint",
            unique=True,
            postgresql_where=text("state NOT IN ('failed', 'cancelled')"),
        ),
    )


class ImportReject(Base):
    """A rejected record: its number and the reason, without its content."""

    __tablename__ = "import_rejects"

    import_id: Mapped[UUID] = mapped_column(ForeignKey("imports.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, comment="from 1")
    file: Mapped[str] = mapped_column(String)
    unit: Mapped[str] = mapped_column(String(8))
    line: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String)
