"""Reads the events of a run for its streams, in short transactions."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel.wire.run_events import (
    AnyRunEvent,
    RunEndEvent,
    RunMetricsEvent,
    RunProgressEvent,
    RunTransitionEvent,
    RunWarningEvent,
)

from app.database import Purpose, transaction
from app.errors import NotFound
from app.runs.states import TERMINAL, RunState
from app.runs.stream import store
from app.runs.stream.event_id import Place
from app.runs.tables import Run, RunTransition

#: Columns of a run that its progress shows unchanged.
PROGRESS = ("state", "paused", "waiting", "phase_done", "phase_total", "held_up_by")
#: The largest number of rows of history and metrics that one query reads.
PAGE = 500


@dataclass(frozen=True)
class StreamedRun:
    """The current state of a run; `number` is the highest number among its history and metrics."""

    number: int
    progress: dict[str, Any]
    warnings: tuple[str, ...]
    end: dict[str, Any] | None

    def ends_at(self, place: Place) -> bool:
        return self.end is not None and place.number >= self.number


@dataclass(frozen=True)
class Written:
    """A row of the history or metrics of a run, without its position in a stream."""

    number: int
    kind: type[RunTransitionEvent] | type[RunMetricsEvent]
    values: dict[str, Any]


def begin(session: Session, project: str, run_id: UUID, last_event_id: str | None, *, history: bool) -> Place | None:
    """Returns the position where a follower of the run begins; None if the follower has received its end.

    last_event_id  the id of the last event that the follower received; None or empty if there is none
    history        whether a follower without a last event receives the events so far

    Raises `NotFound`, `Invalid`.
    """
    current = store.standing(session, run_id)
    if current is None or current[0].project_id != project:
        raise NotFound(f"Project {project} has no run {run_id}.", code="run_not_found")
    now = _standing(*current)
    if last_event_id:
        place = Place.read(last_event_id)
        return None if place.ended and now.ends_at(place) else replace(place, ended=False)
    return Place() if history else Place(now.number, len(now.warnings))


def standing(run_id: UUID) -> StreamedRun:
    """Returns the current state of the run. Raises `NotFound`, `Unavailable`."""
    with transaction(Purpose.STREAMS, read_only=True) as session:
        current = store.standing(session, run_id)
        if current is None:
            raise NotFound(f"There is no run {run_id}.", code="run_not_found")
        return _standing(*current)


def written_after(run_id: UUID, number: int) -> list[Written]:
    """Returns the next rows after `number`, `PAGE` at most. Raises `Unavailable`."""
    with transaction(Purpose.STREAMS, read_only=True) as session:
        return [_written(row) for row in store.written_after(session, run_id, number, PAGE)]


# -- events, each with the position after it ---------------------------------------------------------------------------


def event_of(row: Written, place: Place) -> tuple[AnyRunEvent, Place]:
    after = replace(place, number=row.number)
    return row.kind(id=str(after), **row.values), after


def warned(message: str, place: Place) -> AnyRunEvent:
    return RunWarningEvent(id=str(place), message=message)


def progress(now: StreamedRun, place: Place) -> AnyRunEvent:
    return RunProgressEvent(id=str(place), **now.progress)


def ended(now: StreamedRun, place: Place) -> AnyRunEvent:
    assert now.end is not None
    return RunEndEvent(id=str(replace(place, ended=True)), **now.end)


# -- inside ------------------------------------------------------------------------------------------------------------


def _standing(row: Run, number: int) -> StreamedRun:
    shown = {name: getattr(row, name) for name in PROGRESS}
    training = row.state == RunState.TRAINING
    speed = (row.last_metrics or {}).get("tokens_per_second") if training else None
    ended = row.state in TERMINAL
    return StreamedRun(
        number,
        {**shown, "eta_seconds": row.eta_seconds, "tokens_per_second": speed},
        tuple(row.warnings),
        {"state": row.state, "reason": row.reason, "checkpoint_id": row.checkpoint_id} if ended else None,
    )


def _written(row: store.Written) -> Written:
    if isinstance(row, RunTransition):
        columns = ("kind", "from_state", "to_state", "attempt", "at", "by", "reason")
        shown = {name: getattr(row, name) for name in columns}
        return Written(row.id, RunTransitionEvent, shown)
    return Written(row.number, RunMetricsEvent, {"step": row.step, "values": row.values})
