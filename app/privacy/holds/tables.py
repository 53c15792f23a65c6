"""Tables of legal holds. Triggers refuse every change, but that an erasure takes an actor's id out."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Id, Time
from app.feedback.tables import OwnId


class LegalHold(Base):
    """A hold. It is in force until its release, or until `until`."""

    __tablename__ = "legal_holds"

    id: Mapped[Id]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    kind: Mapped[str] = mapped_column(String(16))
    subject: Mapped[OwnId | None] = mapped_column(
        comment="actor or completion; null: the project, or an actor who was erased since"
    )
    actor_sha256: Mapped[bytes | None] = mapped_column(LargeBinary, comment="of project, NUL and actor")
    reason: Mapped[str] = mapped_column(String(500))
    placed_at: Mapped[Time]
    placed_by: Mapped[str] = mapped_column(String(200))
    until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), comment="null: until it is released")

    __table_args__ = (
        CheckConstraint("kind IN ('project', 'actor', 'completion')", name="kind"),
        CheckConstraint(
            "CASE kind WHEN 'project' THEN subject IS NULL WHEN 'completion' THEN subject IS NOT NULL ELSE true END",
            name="subject",
        ),
        Index("ix_legal_holds_project_id_id", "project_id", "id"),
    )


class LegalHoldRelease(Base):
    """The release of a hold, which has one at most."""

    __tablename__ = "legal_hold_releases"

    hold_id: Mapped[UUID] = mapped_column(ForeignKey("legal_holds.id"), primary_key=True)
    released_at: Mapped[Time]
    released_by: Mapped[str] = mapped_column(String(200))
    reason: Mapped[str] = mapped_column(String(500))
