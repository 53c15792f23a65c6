"""The tables of serving targets: what operators chose, and what workers saw there."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, DateTime, ForeignKey, Index, Integer, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Id, Time, now


class ServingTarget(Base):
    """A target. What it should serve is in the ledger of releases; its lease decides who may write what was seen."""

    __tablename__ = "serving_targets"

    id: Mapped[Id]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(String(63))
    settings: Mapped[Document] = mapped_column(comment="wire.TargetSettings; a key by the name of its variable alone")
    enabled: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[Time]
    created_by: Mapped[str] = mapped_column(String(200))
    loaded: Mapped[list[Any]] = mapped_column(
        JSONB,
        default=list,
        server_default=text("'[]'"),
        comment="what was loaded, or may have been: written before each load; unload_at once nobody needs it",
    )
    next_try_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)
    rung_at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), comment="when workers were last asked to look at it"
    )
    lease_owner: Mapped[str | None] = mapped_column(String(200))
    lease_epoch: Mapped[int] = mapped_column(Integer, default=0, comment="rises with every claim and every change")
    lease_expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        Index("ix_serving_targets_due", "next_try_at", postgresql_where=text("enabled")),
    )


class ServingSighting(Base):
    """The findings of workers at a target, of the live checkpoint or of the canary. Without a row, nobody has looked
    yet.
    """

    __tablename__ = "serving_sightings"

    target_id: Mapped[UUID] = mapped_column(ForeignKey("serving_targets.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(String(8), primary_key=True, comment="live or canary")
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String, comment="why it does not serve what the ledger says yet")
    seen_checkpoint_id: Mapped[UUID | None] = mapped_column(ForeignKey("checkpoints.id"))
    seen: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB(none_as_null=True), comment="what it is loaded as: kind, digest, name, path, model"
    )
    seen_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), comment="last found there")
    probe: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True), comment="wire.ProbeResult")
    attempts: Mapped[int] = mapped_column(Integer, default=0, comment="failed in a row")

    __table_args__ = (
        CheckConstraint("role IN ('live', 'canary')", name="role"),
        CheckConstraint("state IN ('loading', 'serving', 'failed', 'away', 'left_out')", name="state"),
        CheckConstraint("role = 'canary' OR state <> 'left_out'", name="live_is_served"),
        CheckConstraint("(seen_checkpoint_id IS NULL) = (seen IS NULL)", name="seen"),
    )
