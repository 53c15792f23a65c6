"""Tables of the settings on redaction and actors, and of the key of pseudonyms."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Id, Time


class ProtectionVersion(Base):
    """A version of a project's settings on redaction and actors. The newest one holds; none: nothing is changed.

    Each transaction that stores feedback names the version that its rows were made by, and fails if it is not the
    newest: see `require_protections` in Postgres.
    """

    __tablename__ = "protections"

    id: Mapped[Id]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    number: Mapped[int] = mapped_column(Integer, comment="1, 2, 3 … within the project")
    mode: Mapped[str] = mapped_column(String(16))
    kinds: Mapped[list[str]] = mapped_column(ARRAY(String))
    hashes_actors: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[Time]

    __table_args__ = (
        CheckConstraint("mode IN ('off', 'mask', 'reject')", name="mode"),
        UniqueConstraint("project_id", "number"),
    )


class RedactionFindings(Base):
    """The number of findings of one kind in feedback that was masked or refused, without any value."""

    __tablename__ = "redaction_findings"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    mode: Mapped[str] = mapped_column(String(16), primary_key=True)
    kind: Mapped[str] = mapped_column(String(64), primary_key=True)
    findings: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[Time]


class PseudonymKey(Base):
    """The fingerprint of the key that pseudonyms in the log were made by. One row at most."""

    __tablename__ = "pseudonym_key"

    one: Mapped[bool] = mapped_column(Boolean, primary_key=True, default=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    since: Mapped[Time]

    __table_args__ = (CheckConstraint("one", name="one_row"),)
