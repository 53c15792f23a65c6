"""The sections of a recipe: adapters, labels learnt together, drift while training, and evaluation."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Lora(Section):
    """Low-rank adapters as in peft. There is no dropout: the reference and the policy pass would disagree."""

    rank: int = Field(16, ge=1, le=1024, description="rank r of the update")
    alpha: int = Field(32, ge=1, le=4096, description="the update is scaled by alpha / rank")
    target_modules: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        "all-linear", description="names of the modules that get an adapter; all-linear leaves out the head"
    )
    rslora: bool = Field(default=False, description="scale by alpha / sqrt(rank): higher ranks stay stable")
    dora: bool = Field(default=False, description="magnitude and direction apart: better at low ranks, a slower step")


class LabelTerm(Section):
    """One of several labels of a row, for the objective mo_kto."""

    name: str = Field(min_length=1, description="name of the label in the row's labels")
    weight: float = Field(1.0, gt=0, le=1000, description="share of this label's loss in the sum")
    lambda_desirable: float = Field(1.0, gt=0, le=1000, description="weight of the rows that the label calls good")
    lambda_undesirable: float = Field(1.0, gt=0, le=1000, description="weight of those that it calls bad")


class Drift(Section):
    """Measures the drift of the policy while it trains, on its own completions of train prompts."""

    checks: int = Field(4, ge=0, le=1000, description="times in a run, evenly spread, the last after the last step")
    prompts: int = Field(16, ge=1, le=10_000, description="train prompts that are answered at each check")
    max_new_tokens: int = Field(64, ge=1, le=8192, description="longest sampled completion")
    kl_budget: float = Field(0.5, gt=0, description="nats a token from the reference beyond which the run warns")


class Evaluation(Section):
    """Settings of the scorer for the held-out rows."""

    kl_prompts: int = Field(
        64,
        ge=0,
        le=10_000,
        description="held-out prompts that candidate, shipped checkpoint and first base model answer, for the samples, "
        "their figures and the on-policy KL; 0 skips them",
    )
    kl_max_new_tokens: int = Field(128, ge=1, le=8192, description="longest sampled completion")
    temperature: float = Field(
        1.0,
        gt=0,
        le=2,
        description="of the sampled replies: the one with which the model is served; the KL is measured at 1 in any "
        "case, from further samples if this differs",
    )
    sample_minutes: float = Field(
        60.0, gt=0, le=1440, description="longest time for sampling from all models; prompts left then are left out"
    )
    sample_tokens: int = Field(
        5_000_000, ge=1, le=1_000_000_000, description="most tokens sampled from all models, likewise"
    )
    replay: int = Field(
        100,
        ge=0,
        le=10_000,
        description="answers that users disliked, and as many that they liked, whose prompts are answered again: the "
        "newest of the holdout, then the newest of the training rows; 0 skips them",
    )
    few_shots: int = Field(
        0,
        ge=0,
        le=16,
        description="desirable training rows that the shipped checkpoint also reads as examples before each prompt, to "
        "be compared with what training gives; 0 skips it",
    )
    bootstrap: int = Field(1000, ge=100, le=100_000, description="resamples of every interval")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="coverage of every interval")
