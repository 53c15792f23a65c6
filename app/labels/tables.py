"""Stored comparisons of edits, so that a log is read without their texts. They can be rebuilt from the log any time."""

from sqlalchemy import BigInteger, Double, ForeignKey, LargeBinary, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base


class EditComparison(Base):
    """The comparison of an edit with its original; see `app.labels.edits.Comparison`."""

    __tablename__ = "edit_comparisons"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False, comment="of the edit")
    original: Mapped[int] = mapped_column(BigInteger, comment="position of what carries the original's text")
    alike: Mapped[float] = mapped_column(Double)
    change: Mapped[int] = mapped_column(SmallInteger)
    long: Mapped[bool]
    key: Mapped[bytes] = mapped_column(LargeBinary, comment="stands for the edit's text")
