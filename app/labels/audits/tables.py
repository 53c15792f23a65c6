"""Tables of audits of labels: the drawn items, every verdict, and suspicions."""

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Float, ForeignKey, ForeignKeyConstraint, Index, Integer, String
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Id, Time


class LabelAudit(Base):
    __tablename__ = "label_audits"

    id: Mapped[Id]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    watermark: Mapped[int] = mapped_column(BigInteger, comment="last event whose labels it was drawn from")
    policy_name: Mapped[str] = mapped_column(String(128))
    policy_version: Mapped[int] = mapped_column(Integer)
    policy_sha256: Mapped[str] = mapped_column(String(64))
    labelling_sha256: Mapped[str] = mapped_column(
        String(64), comment="of that part of the policy which decides labels: what it asks of audits is not in it"
    )
    seed: Mapped[int] = mapped_column(BigInteger)
    per_class: Mapped[int] = mapped_column(Integer)
    rows_desirable: Mapped[int] = mapped_column(BigInteger, comment="of which it was drawn")
    rows_undesirable: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[Time]
    created_by: Mapped[str] = mapped_column(String(200))

    __table_args__ = (Index("ix_label_audits_project_id_id", "project_id", "id"),)


class LabelAuditItem(Base):
    """One row as it was when it was drawn. Its text is copied, so that a verdict stays with the text that was shown."""

    __tablename__ = "label_audit_items"

    audit_id: Mapped[UUID] = mapped_column(ForeignKey("label_audits.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    completion_id: Mapped[str] = mapped_column(String(collation="C"))
    prompt: Mapped[Any] = mapped_column(JSON)
    completion: Mapped[str] = mapped_column(String)
    label: Mapped[bool] = mapped_column(comment="true: desirable")
    weight: Mapped[float] = mapped_column(Float)
    reason: Mapped[str] = mapped_column(String)
    checkpoint_id: Mapped[UUID | None] = mapped_column(PG_UUID(as_uuid=True))
    suspicion: Mapped[float | None] = mapped_column(Float)


class LabelAuditVerdict(Base):
    """A verdict on an item. The table is append-only; the highest revision counts."""

    __tablename__ = "label_audit_verdicts"

    audit_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    revision: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    verdict: Mapped[str] = mapped_column(String(16))
    note: Mapped[str] = mapped_column(String(500))
    by: Mapped[str] = mapped_column(String(200))
    at: Mapped[Time]

    __table_args__ = (
        ForeignKeyConstraint(
            ["audit_id", "number"],
            ["label_audit_items.audit_id", "label_audit_items.number"],
            name="fk_label_audit_verdicts_item",
        ),
        CheckConstraint("verdict IN ('agree', 'disagree', 'unsure')", name="verdict"),
    )


class LabelSuspicion(Base):
    """The suspicion about a label, from the newest checkpoint that was scored on it and did not learn from it."""

    __tablename__ = "label_suspicions"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    completion_id: Mapped[str] = mapped_column(String(collation="C"), primary_key=True)
    label: Mapped[bool] = mapped_column(comment="the one that is suspected; a completion may have another by now")
    suspicion: Mapped[float] = mapped_column(Float)
    checkpoint_id: Mapped[UUID] = mapped_column(ForeignKey("checkpoints.id"))

    __table_args__ = (Index("ix_label_suspicions_checkpoint_id", "checkpoint_id"),)
