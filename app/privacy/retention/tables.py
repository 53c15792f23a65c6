"""The table of expired months: their progress, and then the records of what was deleted."""

from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Id, Time


class ExpiredMonth(Base):
    """The deletion of one month of a project's feedback. A trigger refuses changes once it is done.

    A month has several rows if feedback was left for a legal hold and deleted after its release.
    """

    __tablename__ = "expired_months"

    id: Mapped[Id]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    month: Mapped[str] = mapped_column(String(7), comment="of the receipt, in UTC, as 2025-10")
    rules: Mapped[Document] = mapped_column(comment="by which it is deleted")
    state: Mapped[str] = mapped_column(String(16))
    step: Mapped[str] = mapped_column(String(16), comment="the next one")
    place: Mapped[str] = mapped_column(
        String, default="", server_default="", comment="up to where the step has come, empty: it has not begun"
    )
    began_at: Mapped[Time]
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    attempts: Mapped[int] = mapped_column(
        Integer, default=0, comment="that did not end well, since the last step that did"
    )
    next_attempt_at: Mapped[Time]
    trouble: Mapped[str | None] = mapped_column(String, comment="what it waits for")
    certificate: Mapped[Document]

    __table_args__ = (
        CheckConstraint("state IN ('pending', 'running', 'done')", name="state"),
        CheckConstraint("(finished_at IS NULL) = (state <> 'done')", name="finished"),
        Index("ix_expired_months_project_id_id", "project_id", "id"),
        Index(
            "ix_expired_months_one_unfinished",
            "project_id",
            "month",
            unique=True,
            postgresql_where=text("state <> 'done'"),
        ),
    )
