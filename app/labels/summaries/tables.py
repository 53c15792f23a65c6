"""The figures from the last reading of a log, so that no request has to read it. They can be rebuilt from the log."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Double, ForeignKey
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Time
from app.feedback.tables import OwnId


class LogSummary(Base):
    """The reading itself: its watermark, and what it rests on in addition to the log."""

    __tablename__ = "log_summaries"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    watermark: Mapped[int] = mapped_column(BigInteger)
    policy_sha256: Mapped[str]
    decisions: Mapped[int] = mapped_column(comment="quarantine decisions that were taken by then")
    erasures: Mapped[int] = mapped_column(comment="erasures that were counted by then")
    as_of: Mapped[datetime] = mapped_column(DateTime(timezone=True), comment="receipt of the newest event")
    rating_median: Mapped[float | None] = mapped_column(Double)
    seconds: Mapped[float] = mapped_column(Double, comment="duration of the reading")
    read_at: Mapped[Time]


class CheckpointApproval(Base):
    """Labelled completions of one checkpoint, without the votes of actors in quarantine."""

    __tablename__ = "checkpoint_approvals"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    checkpoint_id: Mapped[UUID] = mapped_column(PG_UUID(as_uuid=True), primary_key=True)
    desirable: Mapped[int] = mapped_column(BigInteger)
    undesirable: Mapped[int] = mapped_column(BigInteger)


class ActorFindings(Base):
    """The findings of the adopted policy's rules on one actor, regardless of decisions."""

    __tablename__ = "actor_findings"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    actor: Mapped[OwnId] = mapped_column(primary_key=True)
    findings: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
