"""The tables of checkpoints: immutable weights with manifest, scores and the verdict of the gates, and their texts."""

from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Id, Time


class Checkpoint(Base):
    """A checkpoint. Kind *base* is a base model of the project, which begins a line of ancestry. It has no files."""

    __tablename__ = "checkpoints"

    id: Mapped[Id]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    kind: Mapped[str] = mapped_column(String(16))
    base_model: Mapped[str] = mapped_column(comment="folder of the base model that its line of ancestry begins with")
    run_id: Mapped[UUID | None] = mapped_column(unique=True, comment="a run registers one checkpoint at most")
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("checkpoints.id"))
    # An adapter is loaded onto the base model or onto the weights of an earlier checkpoint.
    stands_on_id: Mapped[UUID | None] = mapped_column(ForeignKey("checkpoints.id"))
    snapshot_id: Mapped[UUID | None] = mapped_column(ForeignKey("snapshots.id"))
    verdict: Mapped[str] = mapped_column(String(16))
    reasons: Mapped[list[Any]] = mapped_column(JSONB)
    weights_sha256: Mapped[str | None] = mapped_column(String(64))
    files: Mapped[Document] = mapped_column(comment="path -> sha256")
    scores: Mapped[Document]
    manifest: Mapped[Document]
    created_at: Mapped[Time]

    __table_args__ = (
        CheckConstraint("kind IN ('base', 'adapter', 'weights')", name="kind"),
        CheckConstraint("verdict IN ('base', 'passed', 'refused', 'undecided')", name="verdict"),
        CheckConstraint("(kind = 'base') = (verdict = 'base')", name="only_the_base_has_no_gates"),
        # The target of a release's foreign key: see releases.
        UniqueConstraint("id", "project_id", "verdict"),
        Index(
            "ix_checkpoints_one_base_per_folder",
            "project_id",
            "base_model",
            unique=True,
            postgresql_where=text("kind = 'base'"),
        ),
    )


class CheckpointTexts(Base):
    """The files of a checkpoint that hold texts of users. An erasure replaces them; all else is immutable."""

    __tablename__ = "checkpoint_texts"

    checkpoint_id: Mapped[UUID] = mapped_column(ForeignKey("checkpoints.id"), primary_key=True)
    files: Mapped[Document] = mapped_column(comment="path -> sha256")
