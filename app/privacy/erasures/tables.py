"""Tables of erasures, with their requests, progress and certificates."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, Integer, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Id, Time
from app.feedback.tables import OwnId


class Erasure(Base):
    """An erasure. `certificate` grows with each step; the last step deletes `actor`."""

    __tablename__ = "erasures"

    id: Mapped[Id]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    actor_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    hashed_for: Mapped[str | None] = mapped_column(
        String(63), comment="the project in actor_sha256, if another one: this erasure was copied"
    )
    actor: Mapped[OwnId | None] = mapped_column(comment="null once it is done")
    pseudonym: Mapped[OwnId | None] = mapped_column(
        comment="the hash of the actor's id, by which events are stored; null once it is done"
    )
    pseudonym_sha256: Mapped[bytes | None] = mapped_column(LargeBinary, comment="of project, NUL and pseudonym")
    state: Mapped[str] = mapped_column(String(16))
    step: Mapped[str] = mapped_column(String(16), comment="the next one")
    place: Mapped[str] = mapped_column(
        String, default="", server_default="", comment="up to where the step has come, empty: it has not begun"
    )
    watermark: Mapped[int | None] = mapped_column(BigInteger, comment="end of the log when the first step began")
    requested_at: Mapped[Time]
    requested_by: Mapped[str] = mapped_column(String(200))
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    attempts: Mapped[int] = mapped_column(
        Integer, default=0, comment="that did not end well, since the last step that did"
    )
    next_attempt_at: Mapped[Time]
    trouble: Mapped[str | None] = mapped_column(String, comment="what the last attempt failed of")
    certificate: Mapped[Document]
    lifted_at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), comment="since when the actor may come back"
    )
    lifted_by: Mapped[str | None] = mapped_column(String(200))

    __table_args__ = (
        CheckConstraint("state IN ('pending', 'running', 'done', 'failed')", name="state"),
        CheckConstraint("(actor IS NULL) = (state = 'done')", name="forgets_the_actor"),
        Index("ix_erasures_project_id_id", "project_id", "id"),
        Index(
            "ix_erasures_one_unfinished_per_actor",
            "project_id",
            "actor_sha256",
            unique=True,
            postgresql_where=text("state <> 'done'"),
        ),
    )


class ErasedEvent(Base):
    """An event of the actor: to be deleted, and then listed in the certificate."""

    __tablename__ = "erased_events"

    erasure_id: Mapped[UUID] = mapped_column(ForeignKey("erasures.id"), primary_key=True)
    event_id: Mapped[OwnId] = mapped_column(primary_key=True)


class ErasedCompletion(Base):
    """A completion with signals of the actor; stored only while the erasure goes on."""

    __tablename__ = "erased_completions"

    erasure_id: Mapped[UUID] = mapped_column(ForeignKey("erasures.id"), primary_key=True)
    completion_id: Mapped[str] = mapped_column(String(collation="C"), primary_key=True)
