"""Tables of the ages at which events are learnt from. They hold no text, and can be rebuilt from log and ledger."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, DateTime, Double, ForeignKey, Integer
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Time


class AgesAtRelease(Base):
    """A shipped checkpoint, with the ages of the events of which it was the first to learn."""

    __tablename__ = "learned_releases"

    release_id: Mapped[UUID] = mapped_column(ForeignKey("releases.id"), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    release_number: Mapped[int] = mapped_column(Integer)
    checkpoint_id: Mapped[UUID] = mapped_column(ForeignKey("checkpoints.id"))
    released_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    watermark: Mapped[int] = mapped_column(BigInteger, comment="of the snapshot that the checkpoint learnt from")
    events: Mapped[int] = mapped_column(BigInteger)
    ages: Mapped[list[float] | None] = mapped_column(
        ARRAY(Double), comment="seconds at the release: quantiles 0, 1 %, … 100 %; null without events"
    )


class AgesOfWaiting(Base):
    """The events after the last one that a release has learnt from."""

    __tablename__ = "waiting_events"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    after: Mapped[int] = mapped_column(BigInteger, comment="the last position that a release has learnt from")
    watermark: Mapped[int] = mapped_column(BigInteger)
    events: Mapped[int] = mapped_column(BigInteger)
    ages: Mapped[list[float] | None] = mapped_column(ARRAY(Double), comment="as of learned_releases, at read_at")
    read_at: Mapped[Time]
    seconds: Mapped[float] = mapped_column(Double, comment="duration of the reading")
