"""The table of API keys, which has only the hashes of secrets."""

from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, CheckConstraint, DateTime, ForeignKey, LargeBinary, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Id, Time


class ApiKey(Base):
    __tablename__ = "api_keys"

    id: Mapped[Id]
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(String(128))
    prefix: Mapped[str] = mapped_column(String(16))
    secret_sha256: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    previous_sha256: Mapped[bytes | None] = mapped_column(LargeBinary, unique=True)
    previous_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    scopes: Mapped[list[str]] = mapped_column(ARRAY(String(32)))
    origins: Mapped[list[str]] = mapped_column(
        ARRAY(String(255)), server_default=text("'{}'"), comment="of pages that may use it; empty: it is no browser key"
    )
    limits: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    created_at: Mapped[Time]
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint(
            "origins = '{}' OR (project_id IS NOT NULL AND scopes = '{feedback:write}')", name="harmless_in_a_browser"
        ),
        CheckConstraint("(previous_sha256 IS NULL) = (previous_until IS NULL)", name="previous_secret_has_an_end"),
    )
