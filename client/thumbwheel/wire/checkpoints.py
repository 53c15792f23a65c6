"""Checkpoints, and what they write."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from thumbwheel.wire.gates import GatesOfCheckpoint, Override, RuleDecision

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
    prompt: str | list[dict[str, Any]] | dict[str, Any] = Field(description="text, messages, or messages with tools")
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


class Approval(BaseModel):
    """Thumbs on the outputs of one checkpoint: share of desirable among labelled completions, Wilson interval."""

    checkpoint_id: UUID
    desirable: int
    undesirable: int
    approval: float | None
    low: float | None
    high: float | None
