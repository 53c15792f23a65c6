"""Tables of checkpoint ids that events name and no checkpoint of the project has."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKey
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base


class UnknownCheckpoint(Base):
    """An unknown id, with the number of events that named it. A project has a bounded number of these rows."""

    __tablename__ = "unknown_checkpoints"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    checkpoint_id: Mapped[UUID] = mapped_column(PG_UUID(as_uuid=True), primary_key=True)
    events: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class CountedCheckpoints(Base):
    """The position up to which a project's log was searched for unknown checkpoint ids."""

    __tablename__ = "counted_checkpoints"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, comment="of the last event that was looked at")
    further_events: Mapped[int] = mapped_column(BigInteger, comment="events with ids for which there was no row left")
