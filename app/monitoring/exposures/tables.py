"""Tables of the outputs of each release. They can be counted again from the registered completions and the ledger."""

from sqlalchemy import BigInteger, Boolean, ForeignKey, Integer, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base


class Exposures(Base):
    """Registered completions of one release with one value of their metadata. A key has a bounded number of values."""

    __tablename__ = "exposures"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    release_number: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(
        String(128, collation="C"), primary_key=True, comment="of the metadata; empty: all completions of the release"
    )
    value: Mapped[str] = mapped_column(String(128, collation="C"), primary_key=True, comment="empty: none")
    completions: Mapped[int] = mapped_column(BigInteger)


class CountedExposures(Base):
    """The position up to which a project's registered completions were counted."""

    __tablename__ = "counted_exposures"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)
    keys: Mapped[list[str]] = mapped_column(JSONB, comment="of the metadata, by which they are told apart")
    complete: Mapped[bool] = mapped_column(Boolean, comment="whether these were all completions")
