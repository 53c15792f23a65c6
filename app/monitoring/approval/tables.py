"""Tables of what users think of each release, as of the last reading of the log. They can be rebuilt from it."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Integer
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Time


class ReleaseReading(Base):
    """The reading, with what it rests on besides the log, its policy and decisions: see `LogSummary`."""

    __tablename__ = "release_readings"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    watermark: Mapped[int] = mapped_column(BigInteger)
    ledger: Mapped[int] = mapped_column(Integer, comment="number of the newest release")
    keys: Mapped[list[str]] = mapped_column(JSONB, comment="of the metadata, by which completions are told apart")
    comparisons: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    read_at: Mapped[Time]


class LabelsOfRelease(Base):
    """The labels of one release."""

    __tablename__ = "release_labels"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    release_number: Mapped[int] = mapped_column(Integer, primary_key=True)
    desirable: Mapped[int] = mapped_column(BigInteger)
    undesirable: Mapped[int] = mapped_column(BigInteger)
    voted: Mapped[int] = mapped_column(BigInteger, comment="labelled completions that are registered")
    reasons: Mapped[dict[str, int]] = mapped_column(JSONB)
    drift: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB(none_as_null=True), comment="distance of the mix of reasons from that of the release before"
    )
    segments: Mapped[dict[str, list[dict[str, Any]]]] = mapped_column(JSONB, comment="by key of the metadata")
