"""What an event says, and when two bodies are the same event. Pure: values in, values out."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError
from thumbwheel import wire

from app.errors import Fault, pointer_into, pointer_part

_EVENT_ID: TypeAdapter[str] = TypeAdapter(wire.Name)


def parse(item: Any) -> wire.Event | list[Fault]:
    """`item`, a decoded JSON value, as an event; or everything that is wrong with it, each with a JSON pointer."""
    try:
        return wire.Event.model_validate(item)
    except ValidationError as error:
        return [
            Fault(
                pointer_into(item, fault["loc"], missing=fault["type"] == "missing"),
                fault["msg"].removeprefix("Value error, "),
            )
            for fault in error.errors(include_url=False, include_input=False)
        ]


def document(event: wire.Event) -> dict[str, Any]:
    """The event's body as JSON values. The event id is its name, not a part of it; times are seconds since 1970."""
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
    """JSON pointers to where two documents differ; for a signal of another kind, the signal as a whole."""
    if isinstance(stored, dict) and isinstance(given, dict) and stored.get("kind") == given.get("kind"):
        for name in sorted(stored.keys() | given.keys()):
            there = f"{pointer}/{pointer_part(name)}"
            if name in stored and name in given:
                yield from differences(stored[name], given[name], there)
            else:
                yield there
    elif stored != given:
        yield pointer


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
