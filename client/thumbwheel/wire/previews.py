"""Previews: the labels of the same feedback under another policy; and the label of one completion, explained."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from thumbwheel.wire.policies import LabelPolicy
from thumbwheel.wire.values import Body

ResolvedLabel = Literal["desirable", "undesirable", "nothing"]
PolicyVersion = Annotated[int, Field(ge=0, le=2**31 - 1)]
#: Where neither days nor a snapshot are named.
DEFAULT_DAYS = 30.0


class NewPreview(Body):
    """A `policy`, or a stored `version`, on completions with feedback in the last `days`, or on the log of a snapshot.
    It is compared with `against`; unset: with the adopted policy, or for a snapshot with its own.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"policy": {"precedence": [
        "outcome", "thumbs", "flag", "edit", "rating", "preference", "implicit"]}, "days": 30}]})  # fmt: skip

    policy: LabelPolicy | None = None
    version: PolicyVersion | None = None
    against: PolicyVersion | None = None
    days: float | None = Field(None, gt=0, le=3660, description=f"unset, without a snapshot: {DEFAULT_DAYS:g}")
    snapshot_id: UUID | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.policy is None) == (self.version is None):
            raise ValueError("give either policy, a document, or version, one that is stored")
        if self.days is not None and self.snapshot_id is not None:
            raise ValueError("give either days or snapshot_id: a snapshot has its own end of the log")
        return self


class SignalCount(BaseModel):
    """Signals of one kind that say the same, by the label that their completion got."""

    kind: str
    detail: str | None = Field(description="thumbs: its value; flag, outcome: its name; rating: its place, 0 to 1")
    says: str | None = Field(description="the reason that it gives; null: it has no verdict")
    desirable: int
    undesirable: int
    nothing: int


class ReasonCount(BaseModel):
    """Completions whose label has this first reason."""

    reason: str
    label: ResolvedLabel
    rows: int
    weight: float


class ClassSize(BaseModel):
    """`rows`: with a text that is known, so that they can be learnt from; `weight`: theirs, before caps."""

    rows: int
    weight: float
    without_text: int


class GuardEffect(BaseModel):
    """The effect of a policy's guards on votes and rows."""

    quarantined_actors: int
    quarantined_votes: int
    capped_rows: int = Field(description="that weigh less because of a cap")
    weight_before_caps: float
    weight_after_caps: float


class PolicyEffect(BaseModel):
    """One policy on the feedback of the preview."""

    version: int | None = Field(description="null: a document that isn't stored")
    name: str
    sha256: str
    signals: list[SignalCount]
    reasons: list[ReasonCount]
    desirable: ClassSize
    undesirable: ClassSize
    nothing: int = Field(description="completions without a label")
    guards: GuardEffect


class Verdict(BaseModel):
    """A policy's label for one completion. The label `nothing` has weight 0."""

    label: ResolvedLabel
    weight: float
    reasons: list[str]


class FlipExample(BaseModel):
    completion_id: str
    prompt: str | None = Field(description="shortened; of messages, the last one")
    completion: str | None = Field(description="shortened")
    signals: list[str] = Field(description="kind and detail of each, as `thumbs up`")
    before: Verdict
    after: Verdict


class Flip(BaseModel):
    """Completions by their labels under the two policies. Examples only where these differ."""

    before: ResolvedLabel
    after: ResolvedLabel
    completions: int
    examples: list[FlipExample]


class Unheard(BaseModel):
    """Signals in the feedback without a verdict under the previewed policy."""

    kind: str
    detail: str | None
    signals: int
    why: str = Field(description="with the remedy")


class Preview(BaseModel):
    """`before` is the policy that is compared with, `after` the previewed one."""

    watermark: int = Field(description="the log's end: position of the last event that was read")
    since: datetime | None = Field(description="null for a snapshot")
    snapshot_id: UUID | None
    completions: int
    before: PolicyEffect
    after: PolicyEffect
    flips: list[Flip]
    unheard: list[Unheard]


class ExplainedSignal(BaseModel):
    """One signal on the way to a label."""

    event_id: str
    position: int
    occurred_at: datetime
    actor: str
    signal: dict[str, Any]
    says: str | None = Field(description="the reason that it gives; null: it has no verdict")
    label: ResolvedLabel
    weight: float
    counts: bool
    why: str


class ExplainedText(BaseModel):
    """A user's rewrite of the completion: a desirable row of its own."""

    text: str
    weight: float
    actors: list[str]


class LabelExplanation(BaseModel):
    """The label of one completion under the adopted policy, with its reasons."""

    completion_id: str
    policy: str
    version: int
    label: ResolvedLabel
    weight: float
    reasons: list[str]
    sentence: str = Field(description="the same in words")
    desirable: float = Field(description="weight of all that count on that side")
    undesirable: float
    prompt: Any = Field(description="null until an event, or the registered completion, has carried it")
    completion: str | None
    signals: list[ExplainedSignal] = Field(description="in the order of time")
    texts: list[ExplainedText]
