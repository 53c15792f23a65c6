"""Erasures of actors, and the receipt of one event."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from thumbwheel.wire.holds import ErasureHold
from thumbwheel.wire.previews import ResolvedLabel
from thumbwheel.wire.runs import RunState
from thumbwheel.wire.values import Body, PastTime, Slug

ErasureState = Literal["pending", "running", "done", "failed"]


class LivePeriod(BaseModel):
    """A period during which a checkpoint was live, from its release to the next."""

    since: datetime
    until: datetime | None = Field(description="null: it is live")


class TouchedCheckpoint(BaseModel):
    """A checkpoint whose weights were trained on certain snapshots, or continue from one whose were."""

    checkpoint_id: UUID
    run_id: UUID | None
    snapshot_id: UUID | None = Field(description="that it was trained on itself")
    itself: bool = Field(description="false: its own snapshot is another; a checkpoint before it was trained on one")
    live: list[LivePeriod] = Field(description="oldest first; empty: it was never shipped")


class TouchedRun(BaseModel):
    run_id: UUID
    state: RunState
    snapshot_id: UUID


class ErasedSnapshot(BaseModel):
    """A snapshot that held rows of the actor, and the one in its place."""

    snapshot_id: UUID
    sha256: str
    successor_id: UUID | None = Field(description="null: no row was left")
    successor_sha256: str | None
    rows: int = Field(description="that are gone")
    shards: list[str] = Field(description="files that were rewritten or deleted")


class ErasedTable(BaseModel):
    """A table of Postgres that an erasure deleted rows of, or changed rows of."""

    table: str
    vacuumed_at: datetime | None = Field(description="null: not yet, as its trouble may say")
    rewritten: bool | None = Field(
        description="true: it has a new file, without the erased rows. false: it is too large, or too busy, to be "
        "rewritten; its rows are gone, and their bytes stay in free space of its file until new rows take it "
        "(`VACUUM FULL` by an operator rewrites it). null: it is not vacuumed yet, or there is no such table any more"
    )


class Certificate(BaseModel):
    """The extent of an erasure, as counts and as ids, which contain no erased content."""

    events: int
    event_ids: list[str] = Field(description="the first 1,000; all of them: GET /v1/erasures/{id}/events")
    completions: int = Field(description="registered texts without feedback from another actor")
    audit_items: int = Field(description="rows in samples of audits")
    suspicions: int = Field(description="labels that looked wrong to a checkpoint")
    quarantine_decisions: int
    snapshots: list[ErasedSnapshot]
    checkpoints: list[TouchedCheckpoint] = Field(
        description="trained on rows that are erased now, as of today: weights are not changed"
    )
    runs: list[TouchedRun] = Field(description="that go on with such rows: their checkpoints will be listed, too")
    held: list[ErasureHold] = Field([], description="legal holds that it waited for")
    tables: list[ErasedTable] = Field([], description="of Postgres, to be vacuumed after the erasure; empty: unknown")


class Erasure(BaseModel):
    """One erasure of one actor, who is not named: `actor_sha256` is of `hashed_for`, a NUL and the actor's id."""

    id: UUID
    project: str
    actor_sha256: str
    hashed_for: str = Field(
        "", description="the project, or another one from whose export this erasure was copied: nothing was erased here"
    )
    pseudonym_sha256: str | None = Field(
        None, description="likewise of the hash by which the actor's events may have been stored; null: there is none"
    )
    state: ErasureState
    requested_at: datetime
    requested_by: str
    started_at: datetime | None
    finished_at: datetime | None
    trouble: str | None = Field(description="what it waits for, or why it failed; while it runs, it is tried again")
    held: list[ErasureHold] = Field([], description="legal holds that it waits, or waited, for")
    remedy: str | None = Field(None, description="what an operator has to do, where it failed")
    vacuumed_at: datetime | None = Field(
        None, description="since when no table that it touched has to be vacuumed; null: not yet, or unknown"
    )
    tombstone: bool = Field(description="whether feedback of this actor is refused now")
    lifted_at: datetime | None = Field(description="since when this actor may come back")
    lifted_by: str | None
    certificate: Certificate | None = Field(None, description="once it is done; a listing leaves it out")


class CopiedErasure(Body):
    """An erasure of another project, or of this one before it was lost: whose feedback stays away."""

    hashed_for: Slug = Field(description="the project in `actor_sha256`")
    actor_sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$", description="SHA-256 of `hashed_for`, a NUL and the actor's id"
    )
    pseudonym_sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="likewise of the hash of the actor's id; null: there is none"
    )
    requested_at: PastTime


class CopiedErasures(Body):
    erasures: list[CopiedErasure] = Field(max_length=1000)


class ErasureCopyReceipt(BaseModel):
    """The outcome of copying erasures. A known one is of an actor of whom the project has an erasure."""

    copied: int
    known: int


class ErasedEvent(BaseModel):
    event_id: str


class ReceiptSignal(BaseModel):
    """The verdict of the event's signal under the label policy."""

    signal: dict[str, Any]
    says: str | None = Field(description="its reason; null: it has no verdict")
    label: ResolvedLabel
    weight: float
    counts: bool
    why: str


class ReceiptLabel(BaseModel):
    """The label that the event's completion has now, and why."""

    policy: str
    version: int
    label: ResolvedLabel
    weight: float
    reasons: list[str]
    sentence: str
    signal: ReceiptSignal


class ReceiptSnapshot(BaseModel):
    """A row of a snapshot that rests on the event's completion."""

    snapshot_id: UUID
    completion_id: str = Field(description="of the row: the completion, or a user's rewrite of it")
    split: Literal["train", "holdout", "later"]
    label: ResolvedLabel = Field(description="nothing: the row is there for pairs alone")
    weight: float
    reason: str


class Receipt(BaseModel):
    """The label of an event, and the snapshots, runs and checkpoints that rest on it."""

    event_id: str
    position: int
    received_at: datetime
    completion_id: str
    never_train: bool
    label: ReceiptLabel
    snapshots: list[ReceiptSnapshot] = Field(description="oldest first")
    runs: list[TouchedRun] = Field(description="on these snapshots, oldest first")
    checkpoints: list[TouchedCheckpoint] = Field(description="of these runs, and those that continue from them")
