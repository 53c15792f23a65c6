"""What an event says, and when two bodies are the same event. Pure: values in, values out."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError
from thumbwheel import wire

from app.errors import Fault


def parse(item: Any) -> wire.Event | list[Fault]:
    """`item`, a decoded JSON value, as an event; or everything that is wrong with it, each with a JSON pointer."""
    try:
        return wire.Event.model_validate(item)
    except ValidationError as error:
        return [
            Fault(_pointer(fault["loc"], item), fault["msg"].removeprefix("Value error, "))
            for fault in error.errors(include_url=False, include_input=False)
        ]


def document(event: wire.Event) -> dict[str, Any]:
    """The event's body as JSON values. The event id is its name, not a part of it; times are in UTC."""
    body = event.model_dump(mode="json", exclude={"event_id", "occurred_at"})
    body["occurred_at"] = None if event.occurred_at is None else event.occurred_at.timestamp()
    return body


def body_sha256(event: wire.Event) -> bytes:
    """SHA-256 of the canonical body: equal for a replay, whatever its spacing, key order or spelled-out defaults."""
    return hashlib.sha256(_canonical(document(event))).digest()


def id_of(event: wire.Event) -> str:
    """The id that the caller gave, or else one made of completion id, actor, signal and time.

    Without a time, a second identical signal of the same actor is the first one sent again: who wants it to count
    as a new one sends an event id or the time.
    """
    if event.event_id is not None:
        return event.event_id
    body = document(event)
    parts = [body[name] for name in ("completion_id", "actor", "signal", "occurred_at")]
    return "derived-" + hashlib.sha256(_canonical(parts)).hexdigest()[:32]


def given_id(item: Any) -> str | None:
    """The event id that a faulty item carries, where it carries a sound one."""
    try:
        return _EVENT_ID.validate_python(item["event_id"] if isinstance(item, dict) else None)
    except (KeyError, ValidationError):
        return None


def differences(stored: Any, given: Any, pointer: str = "") -> Iterator[str]:
    """JSON pointers to where two documents differ; inside a signal of another kind, the signal as a whole."""
    if isinstance(stored, dict) and isinstance(given, dict) and stored.get("kind") == given.get("kind"):
        for name in sorted(stored.keys() | given.keys()):
            if name not in stored or name not in given:
                yield f"{pointer}/{_escaped(name)}"
            else:
                yield from differences(stored[name], given[name], f"{pointer}/{_escaped(name)}")
    elif stored != given:
        yield pointer


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _pointer(location: tuple[int | str, ...], item: Any) -> str:
    """A JSON pointer for pydantic's location, without the names of a union's branches, which are not in the body."""
    parts: list[str] = []
    place = item
    for part in location:
        if isinstance(place, dict) and (part in place or part in _FIELDS):
            place = place.get(part)
        elif isinstance(place, list) and isinstance(part, int) and part < len(place):
            place = place[part]
        else:
            continue
        parts.append("/" + _escaped(str(part)))
    return "".join(parts)


def _escaped(name: str) -> str:
    """A pointer's part; what is no Unicode cannot be sent back as it came."""
    return name.encode(errors="replace").decode().replace("~", "~0").replace("/", "~1")


_EVENT_ID: TypeAdapter[str] = TypeAdapter(wire.Name)


#: A missing field's name is in no body, and still has to be named.
_FIELDS = frozenset(
    name
    for model in (wire.Event, wire.Thumbs, wire.Edit, wire.Rating, wire.Implicit, wire.Preference, wire.Message)
    for name in model.model_fields
)
