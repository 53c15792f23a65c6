"""Projects: what is configured of a product whose model is improved."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from thumbwheel.wire.values import Body, Metadata, Name

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="lower-case letters, digits and hyphens")]


class RecipeChoice(Body):
    """A preset and what to change of it; the fields are those of the recipe."""

    preset: str = "lora-small"
    changes: Metadata = Field({}, description="recipe fields that differ from the preset")


class TriggerRules(Body):
    """When a run starts by itself. Both unset: only by API and CLI."""

    new_per_class: int | None = Field(
        None, ge=1, description="start when each class that the objective learns from has so many new labels"
    )
    every_hours: float | None = Field(None, gt=0, le=24 * 365, description="start so often, if there is anything new")


class Gates(Body):
    """What evaluation must show before a checkpoint may ship."""

    auroc_above: float = Field(0.5, ge=0, lt=1, description="the interval's lower bound must lie above this")
    non_inferiority_margin: float = Field(
        0.05,
        ge=0,
        le=0.5,
        description="AUROC may be this much below the shipped checkpoint's, at its interval's low end",
    )
    kl_nats_per_token: float = Field(0.5, gt=0, description="budget of the drift from the reference, on own samples")
    length_ratio_low: float = Field(
        0.5,
        ge=0,
        le=1,
        description="median length of sampled completions, as a share of the reference's: at least this",
    )
    length_ratio_high: float = Field(2.0, ge=1, le=1000, description="and this at most")
    minimum_holdout_per_class: int = Field(
        5,
        ge=0,
        le=100_000,
        description="fewer held-out rows of a class decide nothing: no run starts, and none passes; 0 lets runs start "
        "that only an override can ship",
    )
    minimum_holdout_prompts: int = Field(5, ge=0, le=100_000, description="the same of the prompts that are held out")
    margin_over_dumb_readers: float | None = Field(
        None,
        ge=0,
        le=0.5,
        description="AUROC must be this much above the best of the readers that know nothing (bag of words, length, "
        "the reference's log-prob), at its interval's low end; unset: they are shown and decide nothing",
    )
    refused_findings: tuple[Name, ...] = Field(
        ("rewards_fall", "classes_not_separated"),
        max_length=20,
        description="codes of the trainer's findings that must not hold after the last step",
    )


class SnapshotRules(Body):
    events: Literal["all", "shipped"] = Field(
        "all", description="all: the whole log; shipped: only completions of the checkpoint that is live"
    )
    holdout_share: float = Field(
        0.1,
        gt=0,
        lt=0.9,
        description="share of the prompt groups that is held out, the same ones for ever; a larger share adds to them",
    )
    holdout_days: int | None = Field(
        None,
        ge=1,
        le=3650,
        description="hold out the rows, too, whose signal came in so many days before the last event; they are the "
        "later-in-time part of the holdout, kept apart from the prompts that are always held out",
    )
    disjoint_actors: bool = Field(
        default=False,
        description="leave out of training the rows of every actor who has held-out rows: costs rows, and the "
        "evaluation is then on people whom the model never learnt from",
    )
    minimum_per_class: int = Field(200, ge=1, description="a run on fewer training rows of a class is refused")
    allow_imbalance: bool = Field(default=False, description="take data outside 1:10 … 10:1 all the same")


class ProjectConfiguration(Body):
    recipe: RecipeChoice = RecipeChoice()
    trigger: TriggerRules = TriggerRules()
    gates: Gates = Gates()
    snapshot: SnapshotRules = SnapshotRules()


class NewProject(ProjectConfiguration):
    project: Slug
    base_model: Name = Field(
        description="absolute path of the base model's folder, with config.json, safetensors and tokenizer, as the "
        "workers see it"
    )


class ProjectChange(Body):
    """Sections that are given replace the stored ones whole."""

    recipe: RecipeChoice | None = None
    trigger: TriggerRules | None = None
    gates: Gates | None = None
    snapshot: SnapshotRules | None = None
    archived: bool | None = Field(
        None, description="true: take no feedback and start no runs from now on; false: open it again"
    )


class Project(ProjectConfiguration):
    model_config = ConfigDict(extra="ignore")

    project: str
    base_model: str
    created_at: datetime
    archived_at: datetime | None = Field(None, description="since when it takes no feedback and starts no runs")
