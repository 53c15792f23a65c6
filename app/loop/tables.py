"""What the loop decided, and why."""

from uuid import UUID

from sqlalchemy import BigInteger, Boolean, ForeignKey, Identity, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Time


class TriggerDecision(Base):
    """What the loop decided about a project, and why; the same decision again only moves `last_seen_at`."""

    __tablename__ = "trigger_decisions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    decided_at: Mapped[Time]
    last_seen_at: Mapped[Time]
    started: Mapped[bool] = mapped_column(Boolean)
    reason: Mapped[str] = mapped_column(String)
    basis: Mapped[Document] = mapped_column(comment="all that the decision rests on: the same again decides the same")
    run_id: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))
