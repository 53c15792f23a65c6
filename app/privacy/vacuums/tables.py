"""Tables that have to be vacuumed after an erasure."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, String, text
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base


class ErasedTable(Base):
    """A table in which an erasure deleted or changed rows."""

    __tablename__ = "erased_tables"

    erasure_id: Mapped[UUID] = mapped_column(PG_UUID(as_uuid=True), ForeignKey("erasures.id"), primary_key=True)
    table_name: Mapped[str] = mapped_column(String, primary_key=True)
    last_xid: Mapped[int | None] = mapped_column(
        BigInteger,
        comment="transaction that ended the erasure: older ones may still read what it deleted; null: not done",
    )
    vacuumed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), comment="null: not yet")
    rewritten: Mapped[bool | None] = mapped_column(comment="whether it has a new file, without the erased rows")

    __table_args__ = (Index("ix_erased_tables_waiting", "table_name", postgresql_where=text("vacuumed_at IS NULL")),)
