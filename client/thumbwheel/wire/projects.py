"""Projects: the configuration for a product whose model is improved."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from thumbwheel.wire.gates import AdoptedGates, GateChoice
from thumbwheel.wire.recipe_changes import RecipeChanges, StoredRecipe
from thumbwheel.wire.release_approval import RollbackRules
from thumbwheel.wire.retention import RetentionRules
from thumbwheel.wire.values import Body, Name, Slug


class RecipeChoice(Body):
    """A preset, and the fields of the recipe that differ from it."""

    preset: str = "lora-small"
    changes: RecipeChanges = Field(RecipeChanges(), description="recipe fields that differ from the preset")


class StoredRecipeChoice(RecipeChoice):
    """A preset and changes as they were stored."""

    changes: StoredRecipe = Field(StoredRecipe(), description="recipe fields that differ from the preset")


class TriggerRules(Body):
    """The conditions for automatic runs. If both are unset, runs start only by API or CLI."""

    new_per_class: int | None = Field(
        None, ge=1, description="start when each class that the objective learns from has this many new labels"
    )
    every_hours: float | None = Field(
        None, gt=0, le=24 * 365, description="start after this many hours, if there are new labels"
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
        description="also hold out the rows with a signal from this number of days before the last event; they are the "
        "later-in-time part of the holdout, kept apart from the prompts that are always held out",
    )
    disjoint_actors: bool = Field(
        default=False,
        description="leave out of training the rows of every actor who has held-out rows: costs rows, and the "
        "evaluation is then on people whom the model never learnt from",
    )
    minimum_per_class: int = Field(200, ge=1, description="a run on fewer training rows of a class is refused")
    allow_imbalance: bool = Field(default=False, description="take data outside 1:10 … 10:1 all the same")


class MonitoringChange(Body):
    """Rules for the time after a release, or some of them."""

    live_share: float | None = Field(None, gt=0, lt=1, description="share of the events that must be live in time")
    live_hours: float | None = Field(
        None, gt=0, le=24 * 365, description="hours from an event to the release of a checkpoint that learnt from it"
    )
    segments: list[Name] = Field(
        [], max_length=5, description="keys of the metadata of completions and events by which approval is shown"
    )
    rollback: RollbackRules | None = Field(None, description="null: nothing is rolled back automatically")

    @field_validator("segments")
    @classmethod
    def _distinct(cls, keys: list[str]) -> list[str]:
        repeated = next((key for key in keys if keys.count(key) > 1), None)
        if repeated is not None:
            raise ValueError(f"names {repeated!r} twice: name each key once")
        return keys


class MonitoringRules(MonitoringChange):
    """Rules for the time after a release: the objective for the time until feedback is live, this share of the events
    within these hours; the segments of approval; automatic rollback.
    """

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.live_share is None) != (self.live_hours is None):
            raise ValueError("give both live_share and live_hours, or neither")
        return self


PerMinute = Annotated[int | None, Field(ge=1, le=10_000_000)]


class FeedbackLimits(Body):
    """The number of events that are taken within a minute, and of completions by the gateway; unset: any number.

    A batch counts each of its events, and a registered completion counts as one. A batch is taken if the limit is not
    reached yet, however large it is, except for the events in it that are over the limit of their actor.
    """

    per_minute: PerMinute = Field(None, description="in all")
    actor_per_minute: PerMinute = Field(None, description="of one actor; imported events are not counted")
    gateway_per_minute: PerMinute = Field(None, description="completions by the gateway, in all")
    gateway_actor_per_minute: PerMinute = Field(
        None, description="completions by the gateway for one actor; requests that name none are not counted"
    )


RedactionMode = Literal["off", "mask", "reject"]
#: plain: as they were sent; hashed: keyed hashes of them.
ActorForm = Literal["plain", "hashed"]
ACTORS = (
    "hashed: events are stored with a keyed hash in place of the actor's id, and calls still take the id itself; those "
    "that were received before keep the ids that they have"
)


class RedactionRules(Body):
    """The treatment of personal data and secrets in the texts of feedback, before anything is stored."""

    mode: RedactionMode = Field(
        "off", description="mask: placeholders such as [EMAIL_417] replace them; reject: such feedback is refused"
    )
    kinds: list[Name] | None = Field(
        None, max_length=100, description="kinds that are looked for, such as email; null: the built-in ones"
    )


class RedactionFinding(BaseModel):
    """The findings of one kind. No value is kept, nor where it stood."""

    model_config = ConfigDict(from_attributes=True)

    mode: Literal["mask", "reject"] = Field(description="mask: it was masked; reject: the feedback was refused")
    kind: str
    findings: int = Field(description="since the project was created; a copy of a log counts none")
    last_at: datetime


class RedactionReport(BaseModel):
    """The settings of a project on personal data and secrets, and what was found."""

    redaction: RedactionRules
    actors: ActorForm
    protected_since: datetime | None
    findings: list[RedactionFinding]


class ProjectConfiguration(Body):
    recipe: RecipeChoice = RecipeChoice()
    trigger: TriggerRules = TriggerRules()
    snapshot: SnapshotRules = SnapshotRules()
    monitoring: MonitoringRules = MonitoringRules()
    limits: FeedbackLimits = FeedbackLimits()
    retention: RetentionRules = RetentionRules()
    redaction: RedactionRules = RedactionRules()
    actors: ActorForm = Field("plain", description=ACTORS)


class StoredConfiguration(ProjectConfiguration):
    """A configuration as it was stored."""

    recipe: StoredRecipeChoice = StoredRecipeChoice()
    gates: AdoptedGates = Field(description="the adopted version of the project's gates")
    protected_since: datetime | None = Field(
        None,
        description="since when redaction and actors are set as they are: what was received before is stored as it was "
        "then; null: they were never changed",
    )


class NewProject(ProjectConfiguration):
    project: Slug
    base_model: Name = Field(
        description="absolute path of the base model's folder, with config.json, safetensors and tokenizer, as the "
        "workers see it"
    )
    gates: GateChoice = Field(
        "standard", description="the name of a preset, or a document; it becomes version 1 of the project's gates"
    )
    suites: list[Name] | None = Field(
        None,
        max_length=100,
        description="suites of the server that evaluations run from the first run on; null: all of them; []: none",
    )


class ProjectChange(Body):
    """A merge patch (RFC 7396): of `trigger`, `snapshot`, `monitoring` and `limits`, fields that are left out stay as
    they are, and null unsets a field. All other sections replace the stored ones whole, since a field that is left out
    of them has a meaning.
    """

    recipe: RecipeChoice | None = None
    trigger: TriggerRules | None = None
    gates: GateChoice | None = Field(
        None, description="the name of a preset, or a document: stored as a version unless it is one, and adopted"
    )
    snapshot: SnapshotRules | None = None
    monitoring: MonitoringChange | None = None
    limits: FeedbackLimits | None = None
    split_key: Slug | None = Field(
        None,
        description="the split key of another project, whose prompts are then held out here, too; only before the "
        "first snapshot",
    )
    retention: RetentionRules | None = Field(
        None, description="deletes from the next round of the loop on: ask for the preview first"
    )
    redaction: RedactionRules | None = None
    actors: ActorForm | None = Field(None, description=ACTORS)
    archived: bool | None = Field(
        None, description="true: take no feedback and start no runs from now on; false: open it again"
    )


class Project(StoredConfiguration):
    model_config = ConfigDict(extra="ignore")

    project: str
    base_model: str
    created_at: datetime
    split_key: str = Field(
        "", description="decides with a prompt whether it is held out; the project's name, if no other was set"
    )
    archived_at: datetime | None = Field(None, description="since when it takes no feedback and starts no runs")
