"""Snapshots: the immutable datasets that runs learn from."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field


class SnapshotPolicy(BaseModel):
    """The label policy that decided what the feedback means."""

    name: str
    version: int
    sha256: str


class RowCounts(BaseModel):
    """Rows of one split, by class."""

    desirable: int
    undesirable: int


class Snapshot(BaseModel):
    id: UUID
    project: str
    sha256: str = Field(description="of manifest.json, which names the hash of every shard")
    watermark: int = Field(description="position of the last event that was read")
    created_at: datetime
    policy: SnapshotPolicy | None
    counts: dict[str, RowCounts] = Field(
        description="of train and of holdout; of later where rules.holdout_days holds out rows"
    )
    files: dict[str, str] = Field(description="path → sha256")
    redacted_at: datetime | None = Field(
        description="when the rows of an erased actor were taken out of it, and its shards deleted"
    )
    successor_id: UUID | None = Field(
        description="the snapshot with the other rows; null where it is not redacted, or no row is left"
    )


class SnapshotDetail(Snapshot):
    manifest: dict[str, Any] = Field(description="all that is known of it: shards, counts, rules, drops, warnings")
