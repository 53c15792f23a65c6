"""The table of automatic rollbacks that could not be carried out yet. Those that were are in the ledger."""

from sqlalchemy import ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Time


class RollbackFailure(Base):
    """The last try that failed. The loop tries again until it succeeds, or the rule no longer says so."""

    __tablename__ = "rollback_failures"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    ledger: Mapped[int] = mapped_column(Integer, comment="number of the newest release then")
    message: Mapped[str] = mapped_column(String)
    failed_at: Mapped[Time]
