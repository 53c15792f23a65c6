"""What an event says, and when two bodies are the same event. Pure: values in, values out."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, to_json
from thumbwheel import wire

from app.errors import Fault, Faults, brief, pointer_into, pointer_part

Model = TypeVar("Model", bound=BaseModel)

_EVENT_ID: TypeAdapter[str] = TypeAdapter(wire.Name)
_ACCEPT = wire.Implicit(kind="accept")


def read(model: type[Model], body: bytes) -> Model | Faults:
    """`body`, JSON text, as `model`; or what is wrong with it, each fault with a JSON pointer.

    Raises `ValueError` where it is no JSON at all.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError:
        # The quick way says little of JSON that it cannot read, a lone surrogate for example: look again, slowly.
        return parse(model, decoded(body))


def decoded(body: bytes) -> Any:
    """JSON text as values; what is no UTF-8 in a string becomes lone surrogates, so that the field can be named.

    Raises `ValueError` where it is no JSON, is nested too deeply or holds a number that is too long.
    """
    try:
        return json.loads(body.decode("utf-8", "surrogateescape"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse(model: type[Model], item: Any) -> Model | Faults:
    """`item`, a decoded JSON value, as `model`; or what is wrong with it, each fault with a JSON pointer."""
    try:
        return model.model_validate(item)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        return Faults((_fault_of(item, fault) for fault in faults), error.error_count())


def _fault_of(item: Any, fault: ErrorDetails) -> Fault:
    pointer = pointer_into(item, fault["loc"], missing=fault["type"] == "missing")
    return Fault(brief(pointer), brief(fault["msg"].removeprefix("Value error, ")))


def as_stored(event: wire.Event) -> wire.Event:
    """An edit that changed nothing says that the completion was accepted."""
    if isinstance(event.signal, wire.Edit) and event.signal.text == event.completion:
        return event.model_copy(update={"signal": _ACCEPT})
    return event


def document(event: wire.Event) -> dict[str, Any]:
    """The event's body as JSON values. The event id is its name, not a part of it; times are seconds since 1970."""
    return {
        "completion_id": event.completion_id,
        "actor": event.actor,
        "signal": event.signal.model_dump(mode="json", exclude_none=True),
        "prompt": _prompt(event.prompt),
        "completion": event.completion,
        "checkpoint_id": None if event.checkpoint_id is None else str(event.checkpoint_id),
        "occurred_at": None if event.occurred_at is None else event.occurred_at.timestamp(),
        "supersedes": event.supersedes,
        "conversation_id": event.conversation_id,
        "metadata": event.metadata,
        "never_train": event.never_train,
    }


def completion_document(completion: wire.Completion) -> dict[str, Any]:
    """The body of a registered completion as JSON values."""
    return {
        "prompt": _prompt(completion.prompt),
        "completion": completion.completion,
        "checkpoint_id": None if completion.checkpoint_id is None else str(completion.checkpoint_id),
        "conversation_id": completion.conversation_id,
        "sampling": completion.sampling,
        "token_ids": completion.token_ids,
        "log_probs": completion.log_probs,
        "metadata": completion.metadata,
    }


def id_of(event: wire.Event) -> str:
    """The id that the caller gave, or else one made of completion id, actor, signal and time.

    Without a time, a second identical signal of the same actor is the first one sent again: who wants it to count
    as a new one sends an event id or the time.
    """
    if event.event_id is not None:
        return event.event_id
    body = document(event)
    parts = [body[name] for name in ("completion_id", "actor", "signal", "occurred_at")]
    said = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return "derived-" + hashlib.sha256(said.encode()).hexdigest()[:32]


def given_id(item: Any) -> str | None:
    """The event id that a faulty item carries, where it carries a sound one."""
    try:
        return _EVENT_ID.validate_python(item["event_id"] if isinstance(item, dict) else None)
    except (KeyError, ValidationError):
        return None


def json_text(value: Any) -> str:
    """JSON of a value or of models in it, fields that are not set left out."""
    return to_json(value, exclude_none=True).decode() if value else "{}"


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


def _prompt(prompt: str | Sequence[wire.Message] | None) -> Any:
    if prompt is None or isinstance(prompt, str):
        return prompt
    return [message.model_dump(mode="json", exclude_none=True) for message in prompt]
