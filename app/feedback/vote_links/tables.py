"""Secrets that sign vote links, and links that were revoked. Other links have no rows."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, Integer, LargeBinary, text
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Time


class VoteLinkSecret(Base):
    """A secret that signs the vote links of a project; the one without an end signs new links."""

    __tablename__ = "vote_link_secrets"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[Time]
    valid_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        Index("uq_vote_link_secrets_current", "project_id", unique=True, postgresql_where=text("valid_until IS NULL")),
    )


class RevokedVoteLink(Base):
    __tablename__ = "revoked_vote_links"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    link_id: Mapped[UUID] = mapped_column(PG_UUID(as_uuid=True), primary_key=True)
    revoked_at: Mapped[Time]
