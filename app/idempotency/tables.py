"""The table of answers to requests with an Idempotency-Key."""

from sqlalchemy import ForeignKey, Index, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Time


class IdempotencyKey(Base):
    """An answer, written in the transaction of the request: a row exists if and only if the request was performed."""

    __tablename__ = "idempotency_keys"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    operation: Mapped[str] = mapped_column(String(500), comment="method and path")
    body_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[int] = mapped_column(SmallInteger)
    response: Mapped[Document]
    created_at: Mapped[Time]

    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)
