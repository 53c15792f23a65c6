"""Runs: retraining jobs, what stands in the way of one, and why one started by itself."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from thumbwheel.wire.balance import BalancePlan, Refusal, Writers
from thumbwheel.wire.project_suites import SuiteOfRun
from thumbwheel.wire.recipe_changes import RecipeChanges, StoredRecipe
from thumbwheel.wire.values import Body, storable


class RunState(StrEnum):
    """The state of a run; docs/commands-of-a-run.md says what each means together with `paused` and `waiting`."""

    QUEUED = "queued"
    SNAPSHOTTING = "snapshotting"
    REFERENCING = "referencing"
    TRAINING = "training"
    EVALUATING = "evaluating"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


class RunTransitionKind(StrEnum):
    """The kind of a transition; docs/commands-of-a-run.md says what each kind changes."""

    REQUESTED = "requested"
    WAITS = "waits"
    TURN = "turn"
    CLAIMED = "claimed"
    TAKEN_OVER = "taken_over"
    MOVED = "moved"
    SHRUNK = "shrunk"
    NOTED = "noted"
    PAUSED = "paused"
    RESUMED = "resumed"
    CANCELLING = "cancelling"
    RETURNED = "returned"
    HELD_UP = "held_up"
    SILENT = "silent"
    LOST = "lost"
    GIVEN_UP = "given_up"
    ENDED = "ended"


RunSource = Literal["retry", "reproduction"]


class NewRun(Body):
    """Start a run with the project's recipe, or with changes for this one time."""

    changes: RecipeChanges = Field(RecipeChanges(), description="recipe fields for this run only")
    note: Annotated[str, Field(max_length=500), AfterValidator(storable)] | None = None
    queue: bool = Field(default=False, description="where a run of the project is active: wait behind it")


class RunAgain(Body):
    """Begin an ended run again, as a run of its own."""

    note: Annotated[str, Field(max_length=500), AfterValidator(storable)] | None = None
    queue: bool = Field(default=False, description="where a run of the project is active: wait behind it")


class RunTransition(BaseModel):
    """A row of a run's history. Programs read `kind`; `reason` is a sentence for people."""

    model_config = ConfigDict(from_attributes=True)

    kind: RunTransitionKind
    from_state: RunState | None
    to_state: RunState
    attempt: int | None = Field(description="the attempt that it concerns, from 1; null before the first claim")
    at: datetime
    by: str
    reason: str


class DroppedRow(BaseModel):
    split: Literal["train", "holdout", "later"]
    completion_id: str
    detail: str = Field(description="the value that is meant, where it helps")


class DroppedRows(BaseModel):
    """Rows that a run neither trains on nor scores, as the base model would not read them as they were judged."""

    reason: str = Field(description="a code, such as `control_tokens_in_answer`; docs/datasets.md lists them")
    meaning: str
    remedy: str
    count: int
    splits: dict[str, int] = Field(description="the count by split: train, holdout, later")
    examples: list[DroppedRow] = Field(description="the first few of them; dropped.jsonl of the run names all")


class Run(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    project: str
    state: RunState
    reason: str | None = Field(description="why it failed or was cancelled")
    trigger: str = Field(description="who or what requested it, and why")
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
    recipe: StoredRecipe = Field(description="the resolved recipe, once the snapshot is known")
    last_metrics: dict[str, Any] | None
    warnings: list[str]
    dropped_rows: list[DroppedRows] = Field([], description="by reason, the most frequent first")
    transitions: list[RunTransition]
    paused: bool = Field(default=False, description="no worker has it until it is resumed; it still is the active one")
    waiting: bool = Field(default=False, description="queued behind the project's active run")
    source_run_id: UUID | None = Field(None, description="the run that it retries or reproduces")
    source: RunSource | None = Field(None, description="what it is of `source_run_id`")
    group_id: UUID | None = Field(None, description="the comparison or sweep that it is part of")
    reproduces: bool | None = Field(
        None, description="of a reproduction that succeeded: whether its weights are its source's, by their sha256"
    )
    said: str | None = Field(None, description="the last lines of output of its trainer or scorer, if one failed")
    held_up_by: str | None = Field(None, description="which disk is full, where that stopped it, and the remedy")
    held_up_since: datetime | None = Field(None, description="when that disk stopped it first")
    suites: list[SuiteOfRun] = Field([], description="the suites that its evaluation runs")
    next_attempt_at: datetime | None = Field(None, description="when it is tried again; null while it is tried")


class Metrics(BaseModel):
    """The time series of a run, one item per kept optimizer step."""

    run_id: UUID
    steps: list[dict[str, Any]]


class ClassCounts(BaseModel):
    desirable: int
    undesirable: int
    nothing: int = Field(
        0, description="completions with signals that add up to no label, or whose text is not known yet"
    )


class HoldoutForecast(BaseModel):
    """Rows that a run would be evaluated on, and the prompts that they are about."""

    desirable: int
    undesirable: int
    prompts: int


class QuarantineForecast(BaseModel):
    """Votes that do not count, as their actors are in quarantine."""

    actors: int
    votes: int = Field(description="a preference is one")
    reasons: dict[str, int] = Field(description="actors by reason: quarantined_burst for one")


class UnknownCheckpoint(BaseModel):
    """A checkpoint id that events name and that no checkpoint of the project has."""

    checkpoint_id: UUID
    events: int = Field(description="events that named it")
    last_at: datetime


class UnknownCheckpoints(BaseModel):
    """Events that name checkpoints which the project does not have: stored, but counted for no checkpoint."""

    events: int
    ids: int = Field(description="different ids, the first 1,000 at most")
    further_events: int = Field(description="events of these that named further ids")
    first: list[UnknownCheckpoint] = Field(description="the first 20, by their number of events")
    position: int = Field(description="position up to which the log has been read, in the background")


class Readiness(BaseModel):
    """Whether a run could start now, and what is missing."""

    ready: bool
    counts: ClassCounts
    new_counts: ClassCounts = Field(description="since the last run's watermark")
    reasons: list[str] = Field(description="what stands in the way, each with its remedy")
    refusals: list[Refusal] = Field([], description="those of the reasons that the rows give, for programs")
    plan: BalancePlan | None = Field(None, description="what the training rows are made of, and how to balance them")
    writers: Writers | None = Field(None, description="who wrote the training rows, and how old their feedback is")
    unknown_checkpoints: UnknownCheckpoints | None = None
    lambda_desirable: float | None
    lambda_undesirable: float | None
    pairs: int = Field(0, description="pairs of a desirable and an undesirable completion of one training prompt")
    holdout: HoldoutForecast | None = Field(None, description="what would be held out")
    quarantine: QuarantineForecast | None = Field(None, description="what waits for a decision, or was decided against")
    notices: list[str] = Field([], description="what stops no run and may spoil its result, each with its remedy")
    undecided: list[str] = Field(
        [],
        description="those of the notices that leave the verdict of the gates undecided: no run starts automatically",
    )
    watermark: int = Field(
        description="up to where the log was looked at: its end, or for more than 5,000 events a little before; "
        "such a log is looked at in the background"
    )


class TriggerDecision(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    decided_at: datetime
    last_seen_at: datetime
    started: bool
    reason: str
    run_id: UUID | None
