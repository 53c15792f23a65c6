"""The events of `GET /v1/runs/{run_id}/events`: one JSON object per server-sent event."""

from datetime import datetime
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

from pydantic import BaseModel, Field

from thumbwheel.wire.runs import RunState, RunTransitionKind


class _RunEvent(BaseModel):
    id: str = Field(description="position in the stream: sent as Last-Event-ID, the stream resumes after it")


class RunTransitionEvent(_RunEvent):
    """A row of the run's history. `to_state` equals `from_state` where the state stays. Programs read `kind`."""

    event: Literal["transition"] = "transition"
    kind: RunTransitionKind
    from_state: RunState | None
    to_state: RunState
    attempt: int | None = Field(description="the attempt that it concerns, from 1; null before the first claim")
    at: datetime
    by: str
    reason: str


class RunMetricsEvent(_RunEvent):
    """The figures of an optimizer step. A step that is repeated after a kill is reported again."""

    event: Literal["metrics"] = "metrics"
    step: int
    values: dict[str, Any]


class RunProgressEvent(_RunEvent):
    """The current progress of the run."""

    event: Literal["progress"] = "progress"
    state: RunState
    paused: bool
    waiting: bool
    phase_done: int
    phase_total: int
    eta_seconds: float | None
    tokens_per_second: float | None = Field(description="of the newest step, while training")
    held_up_by: str | None = Field(None, description="which disk is full, where that stopped it, and the remedy")


class RunWarningEvent(_RunEvent):
    """A suspected problem of the run, with a remedy."""

    event: Literal["warning"] = "warning"
    message: str


class RunEndEvent(_RunEvent):
    """The run has ended; nothing follows."""

    event: Literal["end"] = "end"
    state: Literal[RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED]
    reason: str | None
    checkpoint_id: UUID | None


AnyRunEvent = RunTransitionEvent | RunMetricsEvent | RunProgressEvent | RunWarningEvent | RunEndEvent
RunEvent = Annotated[AnyRunEvent, Field(discriminator="event")]

#: The models by the name that follows `event:` in the stream.
RUN_EVENTS: dict[str, type[AnyRunEvent]] = {
    model.model_fields["event"].default: model for model in get_args(AnyRunEvent)
}
