"""The decisions of operators on actors. The table is append-only; the newest decision on an actor counts."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Time
from app.feedback.tables import OwnId


class QuarantineDecision(Base):
    __tablename__ = "quarantine_decisions"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    number: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False, comment="1, 2, 3 … within the project"
    )
    actor: Mapped[OwnId]
    decision: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(500))
    by: Mapped[str] = mapped_column(String(200))
    at: Mapped[Time]

    __table_args__ = (
        CheckConstraint("decision IN ('released', 'confirmed')", name="decision"),
        Index("ix_quarantine_decisions_project_id_actor_number", "project_id", "actor", "number"),
    )
