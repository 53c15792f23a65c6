"""Tables of the loop: its decisions with reasons, and its last round."""

from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Identity, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Time


class TriggerDecision(Base):
    """A decision of the loop about a project, with its reason. A repeated decision only moves `last_seen_at`."""

    __tablename__ = "trigger_decisions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    decided_at: Mapped[Time]
    last_seen_at: Mapped[Time]
    started: Mapped[bool] = mapped_column(Boolean)
    reason: Mapped[str] = mapped_column(String)
    basis: Mapped[Document] = mapped_column(comment="all that the decision rests on: the same again decides the same")
    run_id: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))


class Tick(Base):
    """The end of the loop's last round: a single row."""

    __tablename__ = "ticks"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, default=1)
    ended_at: Mapped[Time]

    __table_args__ = (CheckConstraint("id = 1", name="single"),)
