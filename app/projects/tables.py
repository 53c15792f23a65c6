"""The table of projects."""

from datetime import datetime

from sqlalchemy import DateTime, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Time


class Project(Base):
    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(String(63), primary_key=True)
    base_model: Mapped[str] = mapped_column(String)
    configuration: Mapped[Document]
    created_at: Mapped[Time]
    archived_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    split_key: Mapped[str | None] = mapped_column(
        String(63), comment="what decides with a prompt on which side it is; null: the id of the project"
    )
    erasures: Mapped[int] = mapped_column(
        Integer,
        server_default=text("0"),
        comment="how often something was erased: what was read of the log before is void then",
    )
