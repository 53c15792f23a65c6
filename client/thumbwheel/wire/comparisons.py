"""Comparison jobs: several arms or points of a recipe's space, trained on one snapshot and measured in the same way."""

from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from thumbwheel.wire.recipe_changes import RecipeChanges, StoredRecipe
from thumbwheel.wire.runs import RunState
from thumbwheel.wire.values import Body, Name, storable, storable_value

#: The largest number of runs of one job.
MOST_RUNS = 64

ArmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.=,-]{0,62}$")]
RecipeField = Annotated[str, Field(pattern=r"^[a-z_0-9]{1,40}(\.[a-z_0-9]{1,40})?$")]
Note = Annotated[str, Field(max_length=500), AfterValidator(storable)]


class NewArm(Body):
    """An arm: a name, the recipe fields that it changes, and the model that it starts from."""

    name: ArmName = Field(
        description="a known arm, such as dpo, brings its objective; any other name needs changes or a base model"
    )
    changes: RecipeChanges = Field(
        RecipeChanges(),
        description="recipe fields of this arm, over the project's recipe; few_shots takes evaluation.few_shots alone, "
        "the number of its examples (by default the project's, or 4)",
    )
    base_model: Name | None = Field(
        None,
        description="absolute path of another base model's folder, as the workers see it: the arm starts from it and "
        "is measured against it; null: the shipped checkpoint",
    )


class ArmBudget(Body):
    """Limits that are the same for every arm."""

    votes: int | None = Field(
        None,
        ge=1,
        le=2**53,
        description="the approximate number of labelled completions to learn from: those of a share of the training "
        "prompts, the same prompts for every arm",
    )
    tokens: int | None = Field(
        None, ge=1, le=2**53, description="tokens to train on, prompts and completions of all epochs together"
    )
    steps: int | None = Field(None, ge=1, le=2**31 - 1, description="optimizer steps")


class NewJob(Body):
    """The part of a request that comparisons and sweeps share."""

    seeds: int = Field(1, ge=1, le=10, description="trainings of each arm, which differ in their seed alone")
    budget: ArmBudget = ArmBudget()
    kl_budget: float | None = Field(
        None,
        gt=0,
        le=1000,
        allow_inf_nan=False,
        description="nats a token from the reference; an arm beyond it is never recommended. Unset: that of the "
        "project's gates, or 0.5 if they have none",
    )
    snapshot_id: UUID | None = Field(None, description="an existing snapshot; unset: the first run builds one")
    note: Note | None = None


class NewComparison(NewJob):
    """Compare several arms on one snapshot and one pass of the reference."""

    arms: list[ArmName | NewArm] = Field(
        min_length=2,
        max_length=20,
        description="known arms by name (kto, dpo, ipo, simpo, orpo, sft, bco, apo_zero_unpaired, untouched, "
        "few_shots), or arms with changes or a base model of their own; at least one is trained from the shipped "
        "checkpoint",
    )

    def named_arms(self) -> list[NewArm]:
        """Returns the arms, those that are only a name included."""
        return [NewArm(name=arm) if isinstance(arm, str) else arm for arm in self.arms]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [arm.name for arm in self.named_arms()]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"arms: {twice} is there twice: give each arm a name of its own")
        return self


class ValueRange(Body):
    """A range that values are drawn from."""

    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    scale: Literal["linear", "log"] = Field("linear", description="log: as many values between 0.01 and 0.1 as to 1")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(
                f"low {self.low:g} is not below high {self.high:g}: swap them, or give a list of one value"
            )
        if self.scale == "log" and not self.low > 0:
            raise ValueError(f"low {self.low:g} has no logarithm: give one above 0, or the scale linear")
        return self


class NewSweep(NewJob):
    """Search a space of recipe fields."""

    space: dict[RecipeField, Annotated[list[JsonValue], Field(min_length=1, max_length=64)] | ValueRange] = Field(
        min_length=1, max_length=8, description="recipe field → values, or a range; a field of a section as lora.rank"
    )
    search: Literal["grid", "random", "halving"] = Field(
        "grid",
        description="grid: every combination; random: drawn points; halving: points with little training, of which the "
        "best are trained longer, from their beginning, rung by rung",
    )
    points: int | None = Field(
        None, ge=2, le=MOST_RUNS, description="random: points to draw; halving: as well, unset: every combination"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of the drawn points")
    rungs: list[Annotated[int, Field(ge=1, le=2**31 - 1)]] = Field(
        [], max_length=6, description="halving: `resource` of each rung, rising"
    )
    resource: Literal["max_steps", "epochs"] = Field("max_steps", description="halving: the field that rises by rung")
    keep: int = Field(3, ge=2, le=10, description="halving: one point of this number goes on to the next rung")

    @model_validator(mode="after")
    def _fields_fit_the_search(self) -> Self:
        storable_value({name: value for name, value in self.space.items() if isinstance(value, list)})
        sections = {name.partition(".")[0] for name in self.space if "." in name}
        whole = next((name for name in self.space if name in sections), None)
        if whole is not None:
            raise ValueError(f"space: {whole} is there as a whole and by its fields: leave one out")
        ranges = [name for name, values in self.space.items() if isinstance(values, ValueRange)]
        drawn = self.search == "random" or (self.search == "halving" and self.points is not None)
        if ranges and not drawn:
            raise ValueError(
                f"space: {ranges[0]} is a range, which needs points to draw: set points, or list its values"
            )
        if self.search == "random" and self.points is None:
            raise ValueError("points: a random search needs a number of points")
        if self.search == "grid" and self.points is not None:
            raise ValueError("points: a grid takes every combination: leave points out, or search random")
        if self.search != "halving" and self.rungs:
            raise ValueError("rungs: only halving has rungs: leave them out, or search halving")
        if self.search == "halving":
            self._require_rungs()
        return self

    def _require_rungs(self) -> None:
        if len(self.rungs) < 2:
            raise ValueError(f"rungs: halving needs at least 2 rungs, it has {len(self.rungs)}: [50, 150] for one")
        if any(after <= before for before, after in pairwise(self.rungs)):
            raise ValueError("rungs: each rung must train longer than the one before it")
        if self.resource in self.space:
            raise ValueError(f"space: the rungs set {self.resource}: take it out of the space")
        if self.resource == "max_steps" and self.budget.steps is not None:
            raise ValueError("budget.steps: the rungs set the steps: leave it out")


class ArmFigure(BaseModel):
    """A figure with its interval; all three are null, with the reason, where there is none. A reason beside a value
    says what it rests on.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


class ArmRun(BaseModel):
    """A training of an arm."""

    seed: int
    rung: int = Field(description="from 0; always 0 without halving")
    run_id: UUID | None = Field(description="null: planned, not requested yet")
    state: RunState | None
    reason: str | None = Field(description="why the run failed or was cancelled")
    checkpoint_id: UUID | None
    verdict: str | None = Field(description="of the checkpoint's gates")


class ArmResult(BaseModel):
    """An arm with its runs and figures, which are means over its seeds."""

    name: str
    changes: StoredRecipe = Field(description="recipe fields that differ from the project's recipe")
    base_model: str | None = Field(
        None,
        description="folder of its own base model, against which its AUROC and drift are; null: those are against "
        "the reference of the job",
    )
    reference_checkpoint_id: UUID | None = Field(None, description="the checkpoint of that base model")
    budget: list[str] = Field(description="what the arm gets, in words")
    runs: list[ArmRun]
    rung: int = Field(description="the rung that the figures are of")
    seeds: int = Field(description="trainings that the figures rest on")
    auroc: ArmFigure = Field(description="on the held-out rows")
    kl_nats_per_token: ArmFigure = Field(description="drift from the reference")
    length_ratio: ArmFigure = Field(description="length of what it writes, over that of the reference")
    suites: dict[str, ArmFigure] = Field(description="suite → share of its tests that passed")


class ArmDifference(BaseModel):
    """Two arms on the same prompts: the first minus the second, with a paired interval over prompts."""

    first: str
    second: str
    prompts: int = Field(description="prompts that both arms have samples of")
    auroc: ArmFigure = Field(
        ArmFigure(reason="a job of an earlier version keeps none"),
        description="difference in the AUROC on the held-out rows; a mean over the seeds",
    )
    tokens: ArmFigure = Field(description="difference in the mean length of what they write, in tokens")
    kl_nats_per_completion: ArmFigure = Field(description="difference in drift from the reference")


class Recommendation(BaseModel):
    arm: str | None = Field(
        description="null: no arm is clearly better; few_shots is a prompt, not a checkpoint that can ship"
    )
    leading: str | None = Field(description="the arm with the highest held-out AUROC within the KL budget")
    reason: str
    passed_over: dict[str, str] = Field(description="arms that could not be chosen, each with the reason")


class ComparisonJob(BaseModel):
    """A comparison of arms, or a sweep over points, with everything that is known of it so far."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    project: str
    kind: Literal["comparison", "sweep"]
    state: Literal["running", "succeeded", "failed", "cancelled"]
    reason: str | None = Field(description="why it failed or was cancelled")
    by: str
    note: str | None
    created_at: datetime
    finished_at: datetime | None
    reference_checkpoint_id: UUID
    snapshot_id: UUID | None = Field(description="of all runs; null until the first one has built it")
    watermark: int
    request: dict[str, Any] = Field(description="what was requested")
    kl_budget: float
    runs_planned: int = Field(description="planned so far; the rungs of a halving are planned one by one")
    runs_ended: int
    arms: list[ArmResult]
    differences: list[ArmDifference] = Field(description="paired over prompts, where the arms have samples of the same")
    notices: list[str] = Field(description="what to know before the figures are read")
    recommendation: Recommendation
