"""Tables of the feedback log: append-only; changed and retracted votes are new rows.

Events are partitioned by the month of their receipt. A unique index of a partitioned table holds only within a
partition, so a separate table holds the ids of all events with their positions.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, DateTime, Float, ForeignKey, Index, Integer, LargeBinary, String, false
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Time

#: A caller's own id. Compared byte by byte: quicker than in a language's order, and the same on every machine.
OwnId = Annotated[str, mapped_column(String(128, collation="C"))]
#: JSON stored as it was sent: JSONB would change numbers.
AsSent = Annotated[dict[str, Any], mapped_column(JSON)]
MESSAGE = "the completion as it was sent, where that was a message of more than a text; completion is its text"


class Event(Base):
    """An event; `position` follows the order of commits only up to the watermark: see `store.watermark`.

    Each project has a sequence of its own (see `ingest.append.sequence_name`), which completions share: positions
    reveal nothing about other projects.
    """

    __tablename__ = "events"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    event_id: Mapped[OwnId]
    occurred_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), comment="null: none was sent")
    completion_id: Mapped[OwnId]
    actor: Mapped[OwnId]
    signal: Mapped[AsSent]
    prompt: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    completion: Mapped[str | None] = mapped_column(String)
    message: Mapped[Any | None] = mapped_column(JSON(none_as_null=True), comment=MESSAGE)
    checkpoint_id: Mapped[UUID | None] = mapped_column(PG_UUID(as_uuid=True))
    supersedes: Mapped[OwnId | None]
    conversation_id: Mapped[OwnId | None]
    # The declarative base reserves the name `metadata`.
    extra: Mapped[AsSent] = mapped_column("metadata")
    never_train: Mapped[bool] = mapped_column(server_default=false())
    origin: Mapped[str | None] = mapped_column(
        String(16),
        comment="import: copied from elsewhere, the time of the receipt says nothing; null: sent as it happened",
    )

    __table_args__ = (
        Index("ix_events_project_id_completion_id", "project_id", "completion_id"),
        Index("ix_events_project_id_actor_position", "project_id", "actor", "position"),
        {"postgresql_partition_by": "RANGE (received_at)"},
    )


class EventId(Base):
    """The id of an event, with its position and partition key; the row outlives the event."""

    __tablename__ = "event_ids"

    project_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    event_id: Mapped[OwnId] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Tombstone(Base):
    """An erased actor, whose new events are refused. Only a digest of the actor's id is stored."""

    __tablename__ = "tombstones"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    actor_sha256: Mapped[bytes] = mapped_column(
        LargeBinary,
        primary_key=True,
        comment="of project, NUL and actor; the project is this one, or one of tombstone_names",
    )
    erased_at: Mapped[Time]


class TombstoneName(Base):
    """The name of another project whose tombstones were copied into this one: their digests are made with it."""

    __tablename__ = "tombstone_names"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)


class Completion(Base):
    """A registered completion: events may refer to it by its id alone."""

    __tablename__ = "completions"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    completion_id: Mapped[OwnId] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    prompt: Mapped[Any] = mapped_column(JSON)
    completion: Mapped[str] = mapped_column(String)
    message: Mapped[Any | None] = mapped_column(JSON(none_as_null=True), comment=MESSAGE)
    checkpoint_id: Mapped[UUID | None] = mapped_column(PG_UUID(as_uuid=True))
    conversation_id: Mapped[OwnId | None]
    sampling: Mapped[AsSent]
    token_ids: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))
    log_probs: Mapped[list[float] | None] = mapped_column(ARRAY(Float))
    extra: Mapped[AsSent] = mapped_column("metadata")

    __table_args__ = (Index("ix_completions_project_id_position", "project_id", "position", unique=True),)
