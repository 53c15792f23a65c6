"""Retention of feedback by month: the rule of a project, its months that expired, and what would expire next."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from thumbwheel.wire.privacy import ErasedSnapshot
from thumbwheel.wire.values import Body

#: *redact*: a snapshot loses the rows whose feedback has expired. *keep*: it stays whole until it is as old itself.
SnapshotRetention = Literal["redact", "keep"]


class RetentionRules(Body):
    """The time for which feedback is kept, counted from its receipt. Whole calendar months in UTC are deleted."""

    months: int | None = Field(
        None, ge=1, le=1200, description="the current month and this many before it are kept; null: everything is kept"
    )
    snapshots: SnapshotRetention = Field(
        "redact",
        description="redact: each snapshot gets a successor without the rows whose feedback has expired; keep: a "
        "snapshot stays whole until it is older than the months itself and no longer that of the live checkpoint",
    )


class ExpiredMonth(BaseModel):
    """The record of the deletion of one month of a project's feedback. It never changes once it is done."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    project: str
    month: str = Field(description="of the receipt, in UTC, as 2025-10")
    rules: RetentionRules = Field(description="the rule by which it was deleted")
    state: Literal["pending", "running", "done"]
    step: str = Field(description="the next one, or the last one")
    began_at: datetime
    finished_at: datetime | None
    trouble: str | None = Field(description="what it waits for; it is tried again")
    events: int
    completions: int = Field(description="registered texts that no feedback left refers to")
    edit_comparisons: int
    audit_items: int = Field(description="rows in samples of audits; verdicts stay, without their texts")
    suspicions: int
    dropped: bool = Field(description="whether the month's partition was dropped, so that its space is free at once")
    snapshots: list[ErasedSnapshot] = Field(description="that lost rows")
    held: list[UUID] = Field(
        description="legal holds in force if feedback of the month was left for them; empty: all of it is gone"
    )


class Retention(BaseModel):
    """The retention of a project: its rule, and what it deleted so far."""

    project: str
    rules: RetentionRules
    keeps_from: datetime | None = Field(description="feedback received before is deleted; null: everything is kept")
    months: int = Field(description="number of months whose deletion is done")
    events: int = Field(description="events deleted in all of them")
    completions: int = Field(description="registered texts deleted in all of them")
    last_finished_at: datetime | None
    unfinished: list[ExpiredMonth] = Field(description="oldest first")
    held: list[UUID] = Field(description="legal holds in force, which keep feedback longer")


class PreviewedMonth(BaseModel):
    month: str
    events: int = Field(description="1,000,000 stands for that number or more")
    droppable: bool = Field(
        description="whether its partition can be dropped as a whole; otherwise rows are deleted one by one"
    )


class RetentionPreview(BaseModel):
    """The feedback that a rule would delete now. Nothing is changed."""

    project: str
    rules: RetentionRules
    keeps_from: datetime | None
    months: list[PreviewedMonth] = Field(description="oldest first")
    events: int
    completions: int = Field(
        description="registered texts at most: those that feedback left refers to stay; 1,000,000 or more"
    )
    snapshots_searched: list[UUID] = Field(
        description="snapshots that may lose rows (redact), or would be deleted whole (keep)"
    )
    snapshots_in_use: list[UUID] = Field(description="of these, those of runs under way: they wait for the end")
    held: list[UUID] = Field(description="legal holds in force: nothing that they cover is deleted")
    held_whole: bool = Field(description="whether one of them holds the whole project, so that nothing is deleted")
