"""Readiness of large logs, which the loop keeps."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Time


class KeptReadiness(Base):
    """A forecast of the project's next snapshot: worked out in the background, shown at once."""

    __tablename__ = "readiness"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    basis: Mapped[Document] = mapped_column(comment="all that it rests on: the same again finds the same")
    found: Mapped[Document]
    at: Mapped[Time]
