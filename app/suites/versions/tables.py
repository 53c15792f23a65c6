"""Versions of a project's suites, and the ledger of those that it adopted and dropped. Neither is ever changed."""

from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Time

#: Sorts names by their code points, as Python does.
NAME = String(128, collation="C")


class SuiteVersion(Base):
    """A version of a suite. `document` is complete, as a default may change with the server."""

    __tablename__ = "suites"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    document: Mapped[dict[str, Any]] = mapped_column(JSON, deferred=True)
    sha256: Mapped[str] = mapped_column(String(64), comment="of the document in its canonical form")
    tests: Mapped[int] = mapped_column(Integer)
    samples: Mapped[int] = mapped_column(Integer, comment="tests with each of their prompts")
    note: Mapped[str] = mapped_column(String(2000))
    created_at: Mapped[Time]
    created_by: Mapped[str] = mapped_column(String(200))

    __table_args__ = (
        UniqueConstraint("project_id", "sha256"),
        CheckConstraint("version >= 1", name="version"),
    )


class SuiteAdoption(Base):
    """An entry of the ledger: the project adopts a version of a suite, or drops the suite."""

    __tablename__ = "suite_adoptions"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    number: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False, comment="1, 2, 3 … within the project"
    )
    name: Mapped[str] = mapped_column(NAME)
    stored_version: Mapped[int | None] = mapped_column(Integer, comment="null: the suite of the server, or dropped")
    dropped: Mapped[bool] = mapped_column(Boolean)
    reason: Mapped[str] = mapped_column(String(500))
    by: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[Time]

    __table_args__ = (
        ForeignKeyConstraint(
            ["project_id", "name", "stored_version"], ["suites.project_id", "suites.name", "suites.version"]
        ),
        CheckConstraint("NOT dropped OR stored_version IS NULL", name="dropped_has_no_version"),
        Index("ix_suite_adoptions_newest_of_each", "project_id", "name", "number"),
    )

    @property
    def version(self) -> int | None:
        """The adopted version, 0 for the suite of the server; None if the suite was dropped."""
        return None if self.dropped else self.stored_version or 0
