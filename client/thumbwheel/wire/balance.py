"""The composition of training rows, the advised balance, and the reasons against training on them."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field


class ClassPlan(BaseModel):
    """The training rows of one class."""

    rows: int
    weight: float = Field(description="of all rows together, after the caps on influence")
    effective: float = Field(
        description="as many rows of equal weight would say as much: the square of the sum of the weights over the sum "
        "of their squares (Kish 1965)"
    )


class Segment(BaseModel):
    """Training rows that have something in common."""

    by: Literal["checkpoint", "reason"]
    name: str | None = Field(
        description="the checkpoint's id, or the reason of the label; null: no checkpoint is known"
    )
    desirable: int
    undesirable: int
    weight_desirable: float
    weight_undesirable: float


class WrittenRows(BaseModel):
    """Training rows with one kind of writer."""

    desirable: int
    undesirable: int
    weight: float = Field(description="of all these rows together, after the caps on influence")
    share_of_rows: float = Field(description="of all training rows, 0 to 1")
    share_of_weight: float


class FeedbackAges(BaseModel):
    """Days from the newest judgement of each training row to the newest one of the snapshot; null without times."""

    p10: float | None = Field(description="a tenth of the rows is at most this old")
    median: float | None
    p90: float | None
    oldest: float | None
    without_time: int = Field(description="training rows whose time nobody sent, which are not among them")


class Writers(BaseModel):
    """The writers of the training rows, and the age of the feedback on what they wrote."""

    reference_checkpoint_id: UUID | None = Field(description="what a run measures against: the shipped checkpoint")
    reference: WrittenRows = Field(description="rows that this checkpoint wrote")
    others: WrittenRows = Field(description="rows of other checkpoints: earlier ones, or ones that never shipped")
    people: WrittenRows = Field(description="texts that users wrote in place of completions")
    unknown: WrittenRows = Field(description="rows without a checkpoint_id")
    age_days: FeedbackAges


class Refusal(BaseModel):
    """A reason not to train on the rows, in fields for programs; `reason` states it for people."""

    code: Literal["too_few", "one_class", "uneven", "no_pairs", "unusable_weights", "capped", "no_kept_spans"]
    of: Literal["desirable", "undesirable", "pairs"] | None = Field(description="what is missing")
    have: float | None = Field(description="training rows; their weight where the code is uneven")
    need: float | None = Field(description="the least that is enough, in the same unit")
    more: int | None = Field(
        description="approximate number of new labels or pairs that are needed, with the holdout's share"
    )
    reason: str
    remedy: str = Field(description="what to do, in a few words")


class BalancePlan(BaseModel):
    """The sizes of the classes, and which of the recipe's two ways to balance them is advised."""

    desirable: ClassPlan
    undesirable: ClassPlan
    pairs: int
    segments: list[Segment]
    lambda_desirable: float | None = Field(description="balance weights: what the recipe's auto becomes")
    lambda_undesirable: float | None
    balance_by_weights: float | None = Field(
        description="desirable to undesirable by weight with these two: 1 to 4/3 is sound, and more where "
        "most rows are desirable"
    )
    balance_by_batch: float | None = Field(
        description="the same with balance batch, where half of the rows of a step are of each class and both λ are 1"
    )
    advised: Literal["weights", "batch"] | None = Field(
        description="the recipe's balance, for objectives that weigh classes; null where a class is missing"
    )
    because: str
