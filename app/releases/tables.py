"""The ledger of releases. Of those that are no canary, the release with the highest number is live."""

from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Double, ForeignKey, ForeignKeyConstraint, Integer, String, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Id, Time


class Release(Base):
    """A release. Its foreign key has the verdict: Postgres refuses a checkpoint whose gates did not
    pass without an override reason and its scope.
    """

    __tablename__ = "releases"

    id: Mapped[Id]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    number: Mapped[int] = mapped_column(Integer, comment="1, 2, 3 … within the project")
    checkpoint_id: Mapped[UUID]
    verdict: Mapped[str] = mapped_column(String(16))
    action: Mapped[str] = mapped_column(String(16))
    share: Mapped[float | None] = mapped_column(Double, comment="of actors that get a canary")
    reason: Mapped[str] = mapped_column(String(500))
    override_reason: Mapped[str | None] = mapped_column(String(500))
    override_scope: Mapped[list[str] | None] = mapped_column(
        JSONB(none_as_null=True), comment="names of the rules of the gates that were overridden"
    )
    by: Mapped[str] = mapped_column(String(200))
    decision: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB(none_as_null=True), comment="of the rule of automatic rollback, with its figures; null: a person's"
    )
    created_at: Mapped[Time]

    __table_args__ = (
        UniqueConstraint("project_id", "number"),
        ForeignKeyConstraint(
            ["checkpoint_id", "project_id", "verdict"],
            ["checkpoints.id", "checkpoints.project_id", "checkpoints.verdict"],
            name="fk_releases_checkpoint_with_verdict",
        ),
        CheckConstraint(
            "verdict IN ('base', 'passed') OR (override_reason IS NOT NULL AND override_scope IS NOT NULL)",
            name="passed_or_overridden",
        ),
        CheckConstraint("action IN ('start', 'ship', 'rollback', 'canary', 'end_canary')", name="action"),
        CheckConstraint("(action = 'canary') = (share IS NOT NULL)", name="share_of_canary"),
        CheckConstraint("share > 0 AND share < 1", name="share"),
        CheckConstraint("decision IS NULL OR action IN ('end_canary', 'rollback')", name="decision_takes_back"),
    )
