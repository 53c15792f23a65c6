"""Parses the common shapes of an event several times as fast as pydantic. Pure.

`wire.Event` accepts everything that this reader accepts, as the same event: a property-based test compares the two.
All other bodies are left to `wire.Event`, which also reports their faults.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct
from thumbwheel.wire.signals import SCALE_LIMIT
from thumbwheel.wire.values import CLOCK_SKEW_SECONDS, EARLIEST, MAX_INTEGER, MAX_TEXT

Name = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Place = Annotated[float, Meta(ge=-SCALE_LIMIT, le=SCALE_LIMIT)]
#: At most microseconds: of more digits, this reader would round the last and `wire.Event` would truncate.
Time = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$")]
Value = str | Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)] | float | bool | None


class Thumbs(Struct, tag_field="kind", tag="thumbs", forbid_unknown_fields=True):
    value: Literal["up", "down"]


class Edit(Struct, tag_field="kind", tag="edit", forbid_unknown_fields=True):
    text: Text


class Rating(Struct, tag_field="kind", tag="rating", forbid_unknown_fields=True):
    value: Place
    minimum: Place = 1.0
    maximum: Place = 5.0


class Copy(Struct, tag_field="kind", tag="copy", forbid_unknown_fields=True):
    pass


class Message(Struct, forbid_unknown_fields=True):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text


class Event(Struct, forbid_unknown_fields=True):
    event_id: Name
    completion_id: Name
    actor: Name
    signal: Thumbs | Edit | Rating | Copy
    prompt: Text | Annotated[list[Message], Meta(min_length=1)] | None = None
    completion: Text | None = None
    checkpoint_id: UUID | None = None
    occurred_at: Time | None = None
    supersedes: Name | None = None
    conversation_id: Name | None = None
    metadata: dict[str, Value] = {}
    never_train: bool = False
    origin: Literal["import"] | None = None


_DECODER = msgspec.json.Decoder(Event)


def read(body: bytes, now: float) -> tuple[Event, datetime | None] | None:
    """Returns an event that carries an id, and the time at which it occurred; None if `wire.Event` has to parse it.

    now  seconds since 1970
    """
    if b"\\u0000" in body:
        return None
    try:
        event = _DECODER.decode(body)
        occurred_at = None if event.occurred_at is None else datetime.fromisoformat(event.occurred_at)
    except (ValueError, RecursionError):  # msgspec's errors for invalid JSON and for deep nesting are among these
        return None
    if occurred_at is not None and not EARLIEST <= occurred_at.timestamp() <= now + CLOCK_SKEW_SECONDS:
        return None
    return (event, occurred_at) if _plausible(event) else None


def json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _plausible(event: Event) -> bool:
    """Returns whether the event satisfies those rules of `wire.Event` that types cannot express."""
    signal, prompt, completion = event.signal, event.prompt, event.completion
    if event.event_id.isspace() or event.completion_id.isspace() or event.actor.isspace():
        return False
    if prompt is None or completion is None:
        if prompt is not None or completion is not None:
            return False
    elif not completion or completion.isspace() or (isinstance(prompt, str) and (not prompt or prompt.isspace())):
        return False
    if event.supersedes is not None and (event.supersedes.isspace() or event.supersedes == event.event_id):
        return False
    if event.conversation_id is not None and event.conversation_id.isspace():
        return False
    if isinstance(signal, Edit):
        # An edit that changed nothing is stored as an acceptance.
        return bool(signal.text) and not signal.text.isspace() and signal.text != completion
    return not isinstance(signal, Rating) or (
        signal.minimum < signal.maximum and (signal.minimum <= signal.value <= signal.maximum)
    )
