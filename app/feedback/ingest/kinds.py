"""The kinds of bodies that the intake stores, and what becomes of one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel
from thumbwheel import wire
from thumbwheel.wire.feedback import MAX_TOKENS

from app.errors import ThumbwheelError
from app.feedback import signals
from app.feedback.ingest import append
from app.feedback.ingest.entries import IngestEntry, completion_entry, event_entry, quick_entry
from app.web.bodies import MAX_BODY_BYTES, MAX_COMPLETION_BYTES
from app.web.json_limits import MOST_VALUES

#: Each token and each log-prob counts as a value.
COMPLETION_VALUES = 2 * MAX_TOKENS + MOST_VALUES
#: The cost of a value in a faulty item relative to a valid one, since its faults are collected and described.
FAULTY_WEIGHT = 5


class BodyOutcome(NamedTuple):
    """The outcome of one body. `erased`: its id was erased and is refused; `erased_actor`: its actor was."""

    id: str
    status: Literal["stored", "replayed", "conflict", "erased", "erased_actor"]
    differs: tuple[str, ...] = ()  # JSON pointers, if the status is conflict


#: The result for one body: its outcome after the commit, or an error if Postgres refuses it.
Result = BodyOutcome | ThumbwheelError


@dataclass(frozen=True)
class Kind:
    """A kind of body: its name in figures, the functions that append it and compare it with the stored one, and how the
    items of a batch are read.

    model           of an item
    entry           converts an item to a row of a project's log
    quick           does so from JSON text; returns None for an item that `model` has to parse
    most_bytes      of one body
    most_values     of one body
    unusual_values  commas and opening brackets in those items of a batch that take long: faulty ones, and those that
                    a quick reader of the kind cannot read
    """

    name: Literal["event", "completion"]
    insert: Callable[..., Awaitable[list[append.Fate]]]
    stored: Callable[..., Awaitable[dict[append.Key, dict[str, Any]]]]
    document: Callable[[Any], dict[str, Any]]
    model: type[BaseModel]
    entry: Callable[[str, Any], IngestEntry]
    quick: Callable[[str, bytes], IngestEntry | None] | None
    most_bytes: int
    most_values: int
    unusual_values: int

    @property
    def id_name(self) -> str:
        return f"{self.name}_id"

    @property
    def plural(self) -> str:
        return f"{self.name}s"


def _document(body: wire.Event | bytes) -> dict[str, Any]:
    event = body if isinstance(body, wire.Event) else wire.Event.model_validate_json(body)
    return signals.document(event)


def _identified_entry(project: str, completion: wire.IdentifiedCompletion) -> IngestEntry:
    return completion_entry(project, completion.completion_id, completion)


EVENTS = Kind(
    "event",
    append.append_events,
    append.events_of,
    _document,
    model=wire.Event,
    entry=event_entry,
    quick=quick_entry,
    most_bytes=MAX_BODY_BYTES,
    most_values=MOST_VALUES,
    unusual_values=250_000,  # at 4 µs each, a second
)
COMPLETIONS = Kind(
    "completion",
    append.append_completions,
    append.completions_of,
    signals.completion_document,
    model=wire.IdentifiedCompletion,
    entry=_identified_entry,
    quick=None,
    most_bytes=MAX_COMPLETION_BYTES,
    most_values=COMPLETION_VALUES,
    unusual_values=4 * COMPLETION_VALUES * FAULTY_WEIGHT,  # four faulty ones of the greatest length
)
