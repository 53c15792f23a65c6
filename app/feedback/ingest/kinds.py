"""The kinds of bodies that the intake stores, and what becomes of one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from thumbwheel import wire

from app.errors import ThumbwheelError
from app.feedback import signals
from app.feedback.ingest import append


class BodyOutcome(NamedTuple):
    """The outcome of one body. `erased`: its id was erased and is refused; `erased_actor`: its actor was."""

    id: str
    status: Literal["stored", "replayed", "conflict", "erased", "erased_actor"]
    differs: tuple[str, ...] = ()  # JSON pointers, if the status is conflict


#: The result for one body: its outcome after the commit, or an error if Postgres refuses it.
Result = BodyOutcome | ThumbwheelError


@dataclass(frozen=True)
class Kind:
    """A kind of body: its name in figures, and the functions that append it and compare it with the stored one."""

    name: str
    insert: Callable[..., Awaitable[list[append.Fate]]]
    stored: Callable[..., Awaitable[dict[append.Key, dict[str, Any]]]]
    document: Callable[[Any], dict[str, Any]]


def _document(body: wire.Event | bytes) -> dict[str, Any]:
    event = body if isinstance(body, wire.Event) else wire.Event.model_validate_json(body)
    return signals.document(event)


EVENTS = Kind("event", append.append_events, append.events_of, _document)
COMPLETIONS = Kind("completion", append.append_completions, append.completions_of, signals.completion_document)
