"""Tables of snapshots, which are immutable datasets. Their files are in the artifact store before the row is."""

from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Integer, LargeBinary, String, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Id, Time


class Snapshot(Base):
    __tablename__ = "snapshots"

    id: Mapped[Id]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    sha256: Mapped[str] = mapped_column(String(64), comment="of the manifest, which names the hash of every shard")
    watermark: Mapped[int] = mapped_column(BigInteger, comment="position of the last event that was looked at")
    files: Mapped[Document] = mapped_column(comment="path -> sha256")
    manifest: Mapped[Document]
    created_at: Mapped[Time]

    __table_args__ = (UniqueConstraint("project_id", "sha256"),)


class ReferenceLogProbs(Base):
    """A file of log-probs that a reference gave the snapshot's training rows; it has no other rows.

    The foreign key makes a deletion of the snapshot delete these rows first, and so consider the files.
    """

    __tablename__ = "reference_log_probs"

    snapshot_id: Mapped[UUID] = mapped_column(ForeignKey("snapshots.id"), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    reference_checkpoint_id: Mapped[UUID] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    created_at: Mapped[Time]


class SnapshotRedaction(Base):
    """A snapshot that lost the rows of an erased actor or of expired feedback. Its files are deleted, its successor has
    the other rows.
    """

    __tablename__ = "snapshot_redactions"

    snapshot_id: Mapped[UUID] = mapped_column(ForeignKey("snapshots.id"), primary_key=True)
    successor_id: Mapped[UUID | None] = mapped_column(ForeignKey("snapshots.id"), comment="null: no row is left")
    erasure_id: Mapped[UUID | None] = mapped_column(comment="null: by the retention of the project")
    rows: Mapped[int] = mapped_column(Integer, comment="that are not in the successor")
    shards: Mapped[list[str]] = mapped_column(JSONB, comment="files that were written anew")
    redacted_at: Mapped[Time]


class PromptsPlaced(Base):
    """The position of the log up to which prompts have been placed in groups."""

    __tablename__ = "prompts_placed"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)


class PromptLeader(Base):
    """The first prompt of a group, as `prompts.groups` keeps it, without its text. Groups are permanent, so the row
    outlives the event."""

    __tablename__ = "prompt_leaders"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False, comment="0, 1, 2 …")
    leader: Mapped[bytes] = mapped_column(LargeBinary, comment="key of the prompt")
    bands: Mapped[bytes] = mapped_column(LargeBinary)
    said: Mapped[bytes] = mapped_column(LargeBinary)
    system: Mapped[bytes] = mapped_column(LargeBinary)


class LedPrompt(Base):
    """A prompt that another one leads."""

    __tablename__ = "led_prompts"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    leader: Mapped[bytes] = mapped_column(LargeBinary)


class ConversationLink(Base):
    """A link of prompts (see `prompts.conversations`) with the prompt group that had it first, without text."""

    __tablename__ = "conversation_links"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    link: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    leader: Mapped[bytes] = mapped_column(LargeBinary, comment="key of the prompt that leads the group")
    position: Mapped[int] = mapped_column(BigInteger, comment="of the prompt that had it first")
    joins: Mapped[int] = mapped_column(Integer, comment="prompt groups that it has joined with the first one")


class ConversationStray(Base):
    """A row whose prompt group is not joined with the row's conversation."""

    __tablename__ = "conversation_strays"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    row: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True, comment="key of its answer or its completion id")
    prompt: Mapped[bytes] = mapped_column(LargeBinary, comment="its key")
    link: Mapped[bytes] = mapped_column(LargeBinary, comment="of its conversation")
    position: Mapped[int] = mapped_column(BigInteger)


class ConversationJoin(Base):
    """Two prompt groups that belong to one conversation, from a position of the log on."""

    __tablename__ = "conversation_joins"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    leader: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    other: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, comment="of the prompt that joined them")
    earlier: Mapped[int] = mapped_column(BigInteger, comment="of the prompt that the link came from")
