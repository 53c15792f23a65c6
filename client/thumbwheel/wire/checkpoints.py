"""Checkpoints, and the ledger of those that were shipped."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from thumbwheel.wire.gates import GatesOfCheckpoint, Override, RuleDecision
from thumbwheel.wire.values import Body, Name, storable

Verdict = Literal["base", "passed", "refused", "undecided"]


class Checkpoint(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    project: str
    kind: Literal["base", "adapter", "weights"]
    base_model: str = Field(description="folder of the base model that its line of ancestry begins with")
    created_at: datetime
    run_id: UUID | None
    parent_id: UUID | None = Field(description="the reference that it was trained against")
    stands_on_id: UUID | None = Field(description="the checkpoint whose weights an adapter belongs on")
    verdict: Verdict
    reasons: list[str] = Field(description="the reasons of the gates unless the verdict is passed, refusals first")
    gates: GatesOfCheckpoint | None = Field(None, description="the gates that it was judged by; null: none, or older")
    decision: list[RuleDecision] = Field([], description="the decision of each rule of the gates")
    overrides: list[Override] = Field([], description="releases despite its verdict, the first one first")
    weights_sha256: str | None
    files: dict[str, str] = Field(description="path → sha256")
    scores: dict[str, Any]
    live: bool


class ModelReply(BaseModel):
    """The reply of a model to a prompt."""

    completion: str
    tokens: int = Field(description="its end token among them")
    finished: bool = Field(description="false if it was cut off at the limit of tokens")


class PromptSamples(BaseModel):
    """The replies of a checkpoint, of the shipped one and of the first base model to one prompt."""

    source: Literal["holdout", "suite", "disliked", "liked"] = Field(
        description="disliked, liked: the prompt of an answer that users judged so"
    )
    suite: str | None = Field(description="name of the suite; null for other prompts, like test and prompt_label")
    test: int | None = Field(description="number of the suite's test, from 0")
    prompt_label: str | None = Field(description="label of the suite's prompt")
    group: str = Field(description="equal for equal prompts, in all checkpoints")
    decoding: Literal["greedy", "sampled"] = Field(description="most probable tokens, or drawn at the temperature")
    prompt: str | list[dict[str, Any]] = Field(description="text, or messages")
    candidate: ModelReply = Field(description="by this checkpoint")
    shipped: ModelReply = Field(description="by the checkpoint that was shipped when the run was requested")
    ancestor: ModelReply = Field(description="by the first base model")
    lp_candidate: float | None = Field(
        description="log-prob of the candidate's reply under itself, in nats; null unless it was drawn at temperature 1"
    )
    lp_shipped: float | None = Field(description="under the shipped checkpoint, likewise")
    lp_ancestor: float | None = Field(description="under the first base model, likewise")
    completion_id: str | None = Field(
        None, description="of the answer that users disliked or liked; null for other prompts, like answer and split"
    )
    answer: str | None = Field(None, description="that answer")
    split: Literal["train", "holdout"] | None = Field(None, description="split of its row in the snapshot")


class NewRelease(Body):
    """Ship `checkpoint_id`, or roll back to what was live before the current release."""

    checkpoint_id: UUID | None = None
    rollback: bool = False
    reason: Annotated[str, Field(max_length=500), AfterValidator(storable)] = ""
    override_reason: Annotated[str, Field(min_length=10, max_length=500), AfterValidator(storable)] | None = Field(
        None, description="ship although the gates did not pass; recorded for good"
    )
    override_scope: list[Name] | None = Field(
        None,
        max_length=200,
        description="the rules that are overridden: those that did not pass; unset: all of them; it must cover all",
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.checkpoint_id is None) != self.rollback:
            raise ValueError("give either checkpoint_id or rollback: true")
        if self.override_scope is not None and self.override_reason is None:
            raise ValueError("override_scope needs an override_reason")
        return self


class NewBaseModel(Body):
    """Begin a new line of ancestry: another base model, which is live at once."""

    base_model: Name = Field(description="absolute path of the folder of the new base model, as the workers see it")
    reason: Annotated[str, Field(max_length=300), AfterValidator(storable)] = ""


class Release(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    project: str
    number: int
    checkpoint_id: UUID
    action: Literal["start", "ship", "rollback"] = Field(
        description="start: a base model, with which the ledger or a new line of ancestry begins"
    )
    reason: str
    override_reason: str | None
    override_scope: list[str] | None = Field(None, description="the rules of the gates that were overridden")
    by: str
    created_at: datetime


class CurrentRelease(Release):
    checkpoint: Checkpoint
    base_model: str = Field(description="folder of the base model under an adapter")


class Approval(BaseModel):
    """Thumbs on the outputs of one checkpoint: share of desirable among labelled completions, Wilson interval."""

    checkpoint_id: UUID
    desirable: int
    undesirable: int
    approval: float | None
    low: float | None
    high: float | None
