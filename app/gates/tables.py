"""Versions of a project's gates, and the ledger of which one was adopted when. Neither is ever changed."""

from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, ForeignKeyConstraint, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Time


class GatesVersion(Base):
    """A version of the gates. `document` is complete, as a default may change with the server."""

    __tablename__ = "gates"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
    sha256: Mapped[str] = mapped_column(String(64), comment="of the document in its canonical form")
    note: Mapped[str] = mapped_column(String(2000))
    created_at: Mapped[Time]
    created_by: Mapped[str] = mapped_column(String(200))

    __table_args__ = (
        UniqueConstraint("project_id", "sha256"),
        CheckConstraint("version >= 1", name="version"),
    )


class GatesAdoption(Base):
    __tablename__ = "gate_adoptions"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    number: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False, comment="1, 2, 3 … within the project"
    )
    version: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str] = mapped_column(String(500))
    by: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[Time]

    __table_args__ = (ForeignKeyConstraint(["project_id", "version"], ["gates.project_id", "gates.version"]),)
