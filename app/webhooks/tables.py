"""Webhook endpoints, events, deliveries of events to endpoints, and their attempts."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Id, Time


class WebhookEndpoint(Base):
    """A URL that gets events of a project. Its secrets are stored as they are, because every message is signed."""

    __tablename__ = "webhook_endpoints"

    id: Mapped[Id]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    url: Mapped[str] = mapped_column(String(2000))
    kinds: Mapped[list[str]] = mapped_column(ARRAY(String(64)), comment="types, or groups such as run.*")
    format: Mapped[str] = mapped_column(String(16))
    description: Mapped[str] = mapped_column(String(200))
    secret: Mapped[str] = mapped_column(String(100))
    previous_secret: Mapped[str | None] = mapped_column(String(100))
    previous_secret_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[Time]
    created_by: Mapped[str] = mapped_column(String(200))
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    disabled_reason: Mapped[str | None] = mapped_column(String(500))
    last_attempt_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_success_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"), comment="attempts since the last success")
    rests_until: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), comment="no attempt before, so that a dead endpoint does not occupy the senders"
    )

    __table_args__ = (
        CheckConstraint("format IN ('standard', 'slack')", name="format"),
        CheckConstraint("(disabled_at IS NULL) = (disabled_reason IS NULL)", name="disabled_with_reason"),
        CheckConstraint(
            "(previous_secret IS NULL) = (previous_secret_until IS NULL)", name="previous_secret_has_an_end"
        ),
    )


class WebhookEvent(Base):
    """An event, written in the transaction that made it true. A trigger refuses UPDATE."""

    __tablename__ = "webhook_events"

    id: Mapped[Id]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    type: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[Time] = mapped_column(index=True)

    __table_args__ = (Index("ix_webhook_events_project_id_created_at", "project_id", "created_at"),)


class WebhookDelivery(Base):
    """An event on its way to an endpoint. Only the holder of the newest lease writes the outcome of an attempt."""

    __tablename__ = "webhook_deliveries"

    id: Mapped[Id]
    event_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_events.id", ondelete="CASCADE"))
    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[Time]
    began_at: Mapped[Time] = mapped_column(comment="from which the schedule of attempts counts: creation or replay")
    next_attempt_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"), comment="the newest one's number")
    lease_expires_at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), comment="of the newest attempt, whose number fences its outcome; null: it has ended"
    )

    __table_args__ = (
        UniqueConstraint("event_id", "endpoint_id"),
        CheckConstraint("state IN ('pending', 'delivered', 'failed')", name="state"),
        CheckConstraint("(state = 'pending') = (next_attempt_at IS NOT NULL)", name="pending_has_a_next_attempt"),
        CheckConstraint("(state = 'pending') = (finished_at IS NULL)", name="finished"),
        Index("ix_webhook_deliveries_endpoint_id_id", "endpoint_id", "id"),
        Index(
            "ix_webhook_deliveries_pending",
            "endpoint_id",
            "next_attempt_at",
            postgresql_where=text("state = 'pending'"),
        ),
    )


class WebhookAttempt(Base):
    """A request of a delivery. The row is written before the request is sent, and its outcome afterwards."""

    __tablename__ = "webhook_attempts"

    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[Time]
    seconds: Mapped[float | None] = mapped_column(Double)
    status: Mapped[int | None] = mapped_column(SmallInteger)
    trouble: Mapped[str | None] = mapped_column(String(500))
    answer: Mapped[str | None] = mapped_column(String(1024))
