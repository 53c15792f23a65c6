"""Versions of label policies, and the ledger of which one was adopted when. Neither is ever changed."""

from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, ForeignKeyConstraint, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Time


class LabelPolicyVersion(Base):
    """A version of a policy. `document` is complete, as a default may change with the server."""

    __tablename__ = "label_policies"

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


class LabelPolicyAdoption(Base):
    __tablename__ = "label_policy_adoptions"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    number: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False, comment="1, 2, 3 … within the project"
    )
    stored_version: Mapped[int | None] = mapped_column(Integer, comment="null: the default of the server, version 0")
    reason: Mapped[str] = mapped_column(String(500))
    by: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[Time]

    __table_args__ = (
        ForeignKeyConstraint(["project_id", "stored_version"], ["label_policies.project_id", "label_policies.version"]),
    )

    @property
    def version(self) -> int:
        return self.stored_version or 0
