"""What goes over the wire: the models of the API's bodies, shared by client and server."""

from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    model_validator,
)

MAX_TEXT = 200_000
#: How far a clock of the caller may run ahead of ours, in seconds.
CLOCK_SKEW_SECONDS = 300


def storable(text: str) -> str:
    """Postgres stores neither NUL nor lone surrogates; nobody means them."""
    if "\x00" in text:
        raise ValueError("holds a NUL character: remove it")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError("holds a lone surrogate: send valid Unicode") from error
    return text


def storable_value(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        storable(value)
    elif isinstance(value, float) and not isfinite(value):
        raise ValueError("holds NaN or infinity: JSON has no such number, send null")
    elif isinstance(value, list):
        for item in value:
            storable_value(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            storable(key)
            storable_value(item)
    return value


def not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty: send a text")
    return text


def not_in_the_future(time: datetime) -> datetime:
    if (time - datetime.now(UTC)).total_seconds() > CLOCK_SKEW_SECONDS:
        raise ValueError("lies in the future: send the time at which it happened, in UTC")
    return time


Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(storable), AfterValidator(not_blank)]
Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(storable)]
CompletionText = Annotated[Text, AfterValidator(not_blank)]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(storable_value)]


class Body(BaseModel):
    """A request's body: unknown fields are named and refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# -- signals: what the user did ------------------------------------------------------------------------------------


class Thumbs(Body):
    """An explicit verdict."""

    kind: Literal["thumbs"] = "thumbs"
    value: Literal["up", "down"]


class Edit(Body):
    """The user changed the completion into `text` before using it."""

    kind: Literal["edit"] = "edit"
    text: CompletionText


class Rating(Body):
    """A value on a scale from `minimum` to `maximum`, higher is better."""

    kind: Literal["rating"] = "rating"
    value: float = Field(allow_inf_nan=False)
    minimum: float = Field(1, allow_inf_nan=False)
    maximum: float = Field(5, allow_inf_nan=False)

    @model_validator(mode="after")
    def _on_its_scale(self) -> Self:
        if not self.minimum < self.maximum:
            raise ValueError("minimum must be below maximum")
        if not self.minimum <= self.value <= self.maximum:
            raise ValueError(f"value must be between {self.minimum:g} and {self.maximum:g}")
        return self


class Implicit(Body):
    """Something the user did without judging: weaker than an explicit verdict."""

    kind: Literal["accept", "reject", "copy", "regenerate"]


class Preference(Body):
    """The user preferred this event's completion over `rejected`, another completion of the same prompt."""

    kind: Literal["preference"] = "preference"
    rejected: CompletionText
    rejected_completion_id: Name | None = None


Signal = Annotated[Thumbs | Edit | Rating | Implicit | Preference, Field(discriminator="kind")]


class Message(Body):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text


def _text_or_chat(prompt: object) -> str:
    return "chat" if isinstance(prompt, list) else "text"


#: Told apart by what was sent, so that only what is wrong with that is reported.
Prompt = Annotated[
    Annotated[Text, AfterValidator(not_blank), Tag("text")]
    | Annotated[list[Message], Field(min_length=1), Tag("chat")],
    Discriminator(_text_or_chat),
]


class Event(Body):
    """One piece of feedback about one completion. `prompt` and `completion` may be left out where an earlier or later
    event about the same completion id carries them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "event_id": "vote-8f14e45f",
                    "completion_id": "msg-1042",
                    "actor": "user-77",
                    "prompt": "Where is my parcel?",
                    "completion": "It left our warehouse this morning and arrives tomorrow.",
                    "signal": {"kind": "thumbs", "value": "up"},
                }
            ]
        }
    )

    event_id: Name | None = Field(
        None, description="your id of this event; a retry with the same id stores nothing twice"
    )
    completion_id: Name = Field(description="your own id of the model output that this is about")
    actor: Name = Field(description="who did it: an opaque id")
    signal: Signal
    prompt: Prompt | None = None
    completion: CompletionText | None = None
    checkpoint_id: UUID | None = Field(None, description="the checkpoint that produced the completion, where known")
    occurred_at: Annotated[AwareDatetime, AfterValidator(not_in_the_future)] | None = Field(
        None, description="when the user did it; unset: when it is received"
    )
    metadata: Metadata = {}

    @model_validator(mode="after")
    def _prompt_with_completion(self) -> Self:
        if (self.prompt is None) != (self.completion is None):
            missing = "prompt" if self.prompt is None else "completion"
            raise ValueError(f"{missing} is missing: send prompt and completion together, or neither")
        if isinstance(self.signal, Preference) and self.completion is None:
            raise ValueError("a preference needs prompt and completion (the preferred one) beside signal.rejected")
        if isinstance(self.signal, Preference):
            if self.signal.rejected == self.completion:
                raise ValueError("signal.rejected is the same text as completion: a preference needs two answers")
            if self.signal.rejected_completion_id == self.completion_id:
                raise ValueError("signal.rejected_completion_id is the preferred completion's own id: send another")
        return self


class EventReceipt(BaseModel):
    event_id: str
    status: Literal["stored", "replayed"]


class BatchItem(BaseModel):
    index: int
    event_id: str | None = None
    status: Literal["stored", "replayed", "conflict", "invalid"]
    error: str | None = Field(None, description="what is wrong with this item and what to do")
    pointer: str | None = Field(None, description="JSON pointer into the item")


class BatchReceipt(BaseModel):
    stored: int
    replayed: int
    rejected: int
    items: list[BatchItem]


class StoredEvent(BaseModel):
    """An event as it was stored."""

    model_config = ConfigDict(from_attributes=True)

    event_id: str
    position: int = Field(description="place in the project's log: later is higher")
    received_at: datetime
    occurred_at: datetime
    completion_id: str
    actor: str
    signal: dict[str, Any]
    prompt: str | list[dict[str, Any]] | None
    completion: str | None
    checkpoint_id: UUID | None
    metadata: dict[str, Any]


# -- projects -------------------------------------------------------------------------------------------------------

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="lower-case letters, digits and hyphens")]


class RecipeChoice(Body):
    """A preset and what to change of it; the fields are those of the recipe."""

    preset: str = "lora-small"
    changes: Metadata = {}


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


class SnapshotRules(Body):
    events: Literal["all", "shipped"] = Field(
        "all", description="all: the whole log; shipped: only completions of the checkpoint that is live"
    )
    holdout_share: float = Field(0.1, gt=0, lt=0.9)
    minimum_per_class: int = Field(200, ge=1, description="a run on fewer training rows of a class is refused")
    allow_imbalance: bool = Field(default=False, description="take data outside 1:10 … 10:1 all the same")


class ProjectConfiguration(Body):
    recipe: RecipeChoice = RecipeChoice()
    trigger: TriggerRules = TriggerRules()
    gates: Gates = Gates()
    snapshot: SnapshotRules = SnapshotRules()


class NewProject(ProjectConfiguration):
    project: Slug
    base_model: Name = Field(description="folder of the base model, as the workers see it")


class ProjectChange(Body):
    """Sections that are given replace the stored ones whole."""

    recipe: RecipeChoice | None = None
    trigger: TriggerRules | None = None
    gates: Gates | None = None
    snapshot: SnapshotRules | None = None


class Project(ProjectConfiguration):
    model_config = ConfigDict(extra="ignore")

    project: str
    base_model: str
    created_at: datetime


# -- keys -----------------------------------------------------------------------------------------------------------

Scope = Literal["feedback:write", "feedback:read", "runs:read", "runs:write", "releases:write", "admin"]


class NewKey(Body):
    name: Name = Field(description="what it is for")
    scopes: Annotated[list[Scope], Field(min_length=1)]
    project: Slug | None = Field(None, description="the only project it opens; unset: all of them")
    expires_at: AwareDatetime | None = None


class Key(BaseModel):
    id: UUID
    name: str
    prefix: str = Field(description="how the key begins, to find it again; the rest is stored only as a hash")
    scopes: list[Scope]
    project: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class CreatedKey(Key):
    secret: str = Field(description="the key itself: shown this one time")


# -- runs, checkpoints, releases --------------------------------------------------------------------------------------

RunState = Literal[
    "queued",
    "snapshotting",
    "referencing",
    "training",
    "evaluating",
    "succeeded",
    "failed",
    "cancelling",
    "cancelled",
]
Verdict = Literal["base", "passed", "failed"]


class NewRun(Body):
    """Start a run with the project's recipe, or with changes for this one time."""

    changes: Metadata = Field({}, description="recipe fields for this run only")
    note: Annotated[str, Field(max_length=500), AfterValidator(storable)] | None = None


class RunTransition(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    from_state: str | None
    to_state: str
    at: datetime
    by: str
    reason: str


class Run(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    project: str
    state: RunState
    reason: str | None = Field(description="why it failed or was cancelled")
    trigger: str = Field(description="who or what asked for it, and why")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    phase_done: int = Field(description="of `phase_total`: steps while training, rows while referencing")
    phase_total: int
    eta_seconds: float | None
    attempts: int
    reference_checkpoint_id: UUID
    checkpoint_id: UUID | None = Field(description="what it registered")
    snapshot_id: UUID | None
    recipe: dict[str, Any] = Field(description="the resolved recipe, once the snapshot is known")
    last_metrics: dict[str, Any] | None
    warnings: list[str]
    transitions: list[RunTransition]


class Metrics(BaseModel):
    """The time series of a run, one item per kept optimizer step."""

    run_id: UUID
    steps: list[dict[str, Any]]


class Checkpoint(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    project: str
    kind: Literal["base", "adapter", "weights"]
    created_at: datetime
    run_id: UUID | None
    parent_id: UUID | None = Field(description="the reference that it was trained against")
    stands_on_id: UUID | None = Field(description="the checkpoint whose weights an adapter belongs on")
    verdict: Verdict
    reasons: list[str] = Field(description="of the gates, where the verdict is failed")
    weights_sha256: str | None
    files: dict[str, str] = Field(description="path → sha256")
    scores: dict[str, Any]
    live: bool


class NewRelease(Body):
    """Ship `checkpoint_id`, or roll back to what was live before the current release."""

    checkpoint_id: UUID | None = None
    rollback: bool = False
    reason: Annotated[str, Field(max_length=500), AfterValidator(storable)] = ""
    override_reason: Annotated[str, Field(min_length=10, max_length=500), AfterValidator(storable)] | None = Field(
        None, description="ship although the gates failed; recorded for good"
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.checkpoint_id is None) != self.rollback:
            raise ValueError("give either checkpoint_id or rollback: true")
        return self


class Release(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    project: str
    number: int
    checkpoint_id: UUID
    action: Literal["start", "ship", "rollback"]
    reason: str
    override_reason: str | None
    by: str
    created_at: datetime


class CurrentRelease(Release):
    checkpoint: Checkpoint
    base_model: str = Field(description="folder of the base model under an adapter")


class ClassCounts(BaseModel):
    desirable: int
    undesirable: int
    nothing: int = Field(
        0, description="completions with signals that add up to no label, or whose text is not known yet"
    )


class Readiness(BaseModel):
    """Whether a run could start now, and what is missing."""

    ready: bool
    counts: ClassCounts
    new_counts: ClassCounts = Field(description="since the last run's watermark")
    reasons: list[str] = Field(description="what stands in the way, each with its remedy")
    lambda_desirable: float | None
    lambda_undesirable: float | None
    pairs: int = Field(0, description="a desirable beside an undesirable completion of one training prompt")
    watermark: int


class TriggerDecision(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    decided_at: datetime
    last_seen_at: datetime
    started: bool
    reason: str
    run_id: UUID | None


class Approval(BaseModel):
    """Thumbs on the outputs of one checkpoint: share of desirable among labelled completions, Wilson interval."""

    checkpoint_id: UUID
    desirable: int
    undesirable: int
    approval: float | None
    low: float | None
    high: float | None
