"""The approval of each release, by segment and against another one, and automatic rollback."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from thumbwheel.wire.values import Body


class LabelShare(BaseModel):
    """The share of desirable labels, with its 95 % interval; null without labels."""

    desirable: int
    undesirable: int
    approval: float | None
    low: float | None
    high: float | None


class SegmentApproval(LabelShare):
    """The labels of completions with one value under a key of their metadata."""

    value: str | None = Field(description="null: no value; or all other values")
    rest: bool = Field(description="whether these are all values that are not listed")
    exposures: int | None = Field(description="outputs with the value; null where none are registered")


class WeightedApproval(BaseModel):
    """The approval if every segment had as large a share of the labels as of the outputs, with its 95 % interval."""

    approval: float
    low: float
    high: float
    covered: float = Field(description="share of the outputs in segments with labels; the others are left out")


class SegmentedApproval(BaseModel):
    """The labels of a release by one key of metadata."""

    key: str
    segments: list[SegmentApproval] = Field(description="most labels first")
    exposure_weighted: WeightedApproval | None = Field(description="null without registered completions or labels")


class LabelMixDrift(BaseModel):
    """The distance of the mix of reasons for labels from that of the release before."""

    before: int = Field(description="number of the release before, or of the live one beside a canary")
    total_variation: float = Field(description="share of the labels whose reasons would have to change: 0 to 1")
    noise: float = Field(description="95 % of pairs of samples of this size are closer although their mix is the same")


class ReleaseArm(BaseModel):
    """The votes on one side of a comparison. An actor counts once, with the mean of the votes."""

    release_number: int
    checkpoint_id: UUID
    since: datetime
    until: datetime | None
    votes: int
    actors: int
    approval: float | None = Field(description="mean over actors; null without votes")


class ReleaseComparison(BaseModel):
    """A release against what was live beside it (a canary) or before it, by an interval that is valid at any time."""

    kind: Literal["canary", "before"] = Field(
        description="canary: both arms at the same time; before: one after the other, so what else has changed counts"
    )
    release: ReleaseArm
    other: ReleaseArm
    confidence: float
    difference: float | None = Field(description="approval of the release minus that of the other")
    low: float
    high: float


class RollbackRules(Body):
    """The policy by which the loop ends a canary, or returns to the release before, because users like it less."""

    minimum_labels: int = Field(
        100, ge=1, description="votes that the release, and what it is compared with, must have before anything happens"
    )
    margin: float = Field(
        0.05, ge=0, lt=1, description="difference of the approval that is put up with: the release goes if it is worse"
    )
    grace_hours: float = Field(
        24, ge=0, le=24 * 365, description="hours after a release to all actors in which nothing happens to it"
    )
    confidence: float = Field(
        0.95, ge=0.5, lt=1, description="of the interval of the difference, which holds at all times at once"
    )


class RollbackFigures(BaseModel):
    """The figures that a decision of automatic rollback rests on."""

    rule_version: int
    rule_sha256: str = Field(description='of {"policy": …, "rule": version}, as JSON with sorted keys')
    policy: RollbackRules
    comparison: ReleaseComparison | None
    watermark: int = Field(description="position in the log up to which votes were read")


class RollbackDecision(BaseModel):
    """A decision of the rule of automatic rollback."""

    action: Literal["keep", "end_canary", "roll_back"]
    reason: str
    figures: RollbackFigures


class RollbackState(BaseModel):
    """The decision of the rule now, and why it could not be carried out yet."""

    decision: RollbackDecision
    failure: str | None = Field(description="why the last try failed; the loop tries again")
    failed_at: datetime | None


class ReleaseApproval(LabelShare):
    """The labels of completions of a release whose newest vote was given while it was in force."""

    release_number: int
    checkpoint_id: UUID
    action: Literal["start", "ship", "rollback", "canary"]
    since: datetime
    until: datetime | None = Field(description="null while it is in force")
    reasons: dict[str, int] = Field(description="labels by their first reason")
    exposures: int | None = Field(description="registered completions; null without any, or until all are counted")
    voted_share: float | None = Field(description="share of the registered completions that have a label")
    segments: list[SegmentedApproval]
    drift: LabelMixDrift | None
    comparison: ReleaseComparison | None = Field(description="of the newest canary and of the live release alone")


class ReleaseApprovals(BaseModel):
    """The approval of the newest releases, as of the loop's last reading of the log."""

    project: str
    read_at: datetime | None = Field(description="null until the loop has read the log with the policy and decisions")
    releases: list[ReleaseApproval] = Field(description="newest first")
    rollback: RollbackState | None = Field(description="null if the project does not roll back automatically")
