"""The log of operators' actions."""

from typing import Any
from uuid import UUID

from sqlalchemy import Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Id, Time


class OperatorAction(Base):
    """An operation that succeeded, written in its own transaction. A trigger refuses UPDATE and DELETE.

    It refers to nothing, so that it outlives whatever it is about.
    """

    __tablename__ = "operator_actions"

    id: Mapped[Id]
    at: Mapped[Time]
    operation: Mapped[str] = mapped_column(String(64))
    project: Mapped[str | None] = mapped_column(String(63))
    key_id: Mapped[UUID | None] = mapped_column(PG_UUID(as_uuid=True))
    by: Mapped[str] = mapped_column(String(200))
    request_id: Mapped[str | None] = mapped_column(String(128))
    about: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))

    __table_args__ = (Index("ix_operator_actions_project_id", "project", "id"),)
