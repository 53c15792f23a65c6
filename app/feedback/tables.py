"""The feedback log: append-only; change of mind and retraction are new rows."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, LargeBinary, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Time


class Event(Base):
    """`position` rises with the order of commits only once the log's lock has been passed: see `store.watermark`."""

    __tablename__ = "events"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    event_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    received_at: Mapped[Time]
    occurred_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    completion_id: Mapped[str] = mapped_column(String(128))
    actor: Mapped[str] = mapped_column(String(128))
    signal: Mapped[Document]
    prompt: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    completion: Mapped[str | None] = mapped_column(String)
    checkpoint_id: Mapped[UUID | None] = mapped_column(PG_UUID(as_uuid=True))
    # `metadata` is a name that the declarative base keeps for itself.
    extra: Mapped[Document] = mapped_column("metadata")
    body_sha256: Mapped[bytes] = mapped_column(
        LargeBinary, comment="tells a replay from another body under the same id"
    )

    __table_args__ = (
        Index("ix_events_project_id_position", "project_id", "position", unique=True),
        Index("ix_events_project_id_completion_id", "project_id", "completion_id"),
    )
