"""Parses the bodies of events and completions, derives event ids, and compares two bodies. Pure."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, to_json
from thumbwheel import wire
from thumbwheel.chat_messages import UnreadableMessage, is_plain, normal_message, readable, text_of

from app.errors import Fault, Faults, brief, pointer_into, pointer_part

Model = TypeVar("Model", bound=BaseModel)

_ID: TypeAdapter[str] = TypeAdapter(wire.Name)
_ACCEPT = wire.Implicit(kind="accept")


def read(model: type[Model], body: bytes) -> Model | Faults:
    """Returns `body`, JSON text, as a `model`, or its faults, each with a JSON pointer.

    Raises `ValueError` if it is not valid JSON.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError:
        # The quick parser reports little about JSON that it cannot read (a lone surrogate): parse it again, slowly.
        return parse(model, decoded(body))


def decoded(body: bytes) -> Any:
    """Decodes JSON text. Bytes that are not UTF-8 become lone surrogates, so that a fault can name their field.

    Raises `ValueError` if it is not valid JSON, is nested too deeply or holds a number that is too long.
    """
    try:
        return json.loads(body.decode("utf-8", "surrogateescape"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse(model: type[Model], item: Any) -> Model | Faults:
    """Returns `item`, a decoded JSON value, as a `model`, or its faults, each with a JSON pointer."""
    try:
        return model.model_validate(item)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        return Faults((_fault_of(item, fault) for fault in faults), error.error_count())


def _fault_of(item: Any, fault: ErrorDetails) -> Fault:
    pointer = pointer_into(item, fault["loc"], missing=fault["type"] == "missing")
    return Fault(brief(pointer), brief(fault["msg"].removeprefix("Value error, ")))


def as_stored(event: wire.Event) -> wire.Event:
    """Returns the event as the log stores it: an edit that changed nothing becomes an acceptance."""
    completion = event.completion
    if isinstance(event.signal, wire.Edit) and completion and event.signal.text == answer_of(completion).text:
        return event.model_copy(update={"signal": _ACCEPT})
    return event


class StoredAnswer(NamedTuple):
    """A completion as it is stored. `message`: as it was sent, if it is more than a text."""

    text: str
    message: dict[str, Any] | None = None

    @property
    def as_sent(self) -> str | dict[str, Any]:
        return self.text if self.message is None else self.message


def answer_of(completion: str | wire.Message) -> StoredAnswer:
    """Returns the completion as it is stored; a message with nothing but a text becomes that text."""
    if isinstance(completion, str):
        return StoredAnswer(completion)
    message = completion.model_dump(mode="json", exclude_none=True)
    if is_plain([message]):
        return StoredAnswer(message["content"])
    try:
        return StoredAnswer(text_of(normal_message(message)), message)
    except UnreadableMessage:
        return StoredAnswer(readable(message), message)


def document(event: wire.Event) -> dict[str, Any]:
    """Returns the event's body as JSON values. The event id is not a part of it; times are seconds since 1970."""
    return {
        "completion_id": event.completion_id,
        "actor": event.actor,
        "signal": event.signal.model_dump(mode="json", exclude_none=True),
        "prompt": _prompt(event.prompt),
        "completion": None if event.completion is None else answer_of(event.completion).as_sent,
        "checkpoint_id": None if event.checkpoint_id is None else str(event.checkpoint_id),
        "occurred_at": None if event.occurred_at is None else event.occurred_at.timestamp(),
        "supersedes": event.supersedes,
        "conversation_id": event.conversation_id,
        "metadata": event.metadata,
        "never_train": event.never_train,
    }


def completion_document(completion: wire.Completion) -> dict[str, Any]:
    """Returns the body of a registered completion as JSON values."""
    return {
        "prompt": _prompt(completion.prompt),
        "completion": answer_of(completion.completion).as_sent,
        "checkpoint_id": None if completion.checkpoint_id is None else str(completion.checkpoint_id),
        "conversation_id": completion.conversation_id,
        "sampling": completion.sampling,
        "token_ids": completion.token_ids,
        "log_probs": completion.log_probs,
        "metadata": completion.metadata,
    }


def id_of(event: wire.Event) -> str:
    """Returns the caller's event id, or one derived from completion id, actor, signal and time.

    Without a time, a second identical signal of the same actor counts as a retry of the first; with an event id or a
    time it counts as a new one.
    """
    if event.event_id is not None:
        return event.event_id
    body = document(event)
    parts = [body[name] for name in ("completion_id", "actor", "signal", "occurred_at")]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return "derived-" + hashlib.sha256(text.encode()).hexdigest()[:32]


def given_id(item: Any, name: str) -> str | None:
    """Returns the id of a faulty item, its field `name`; None if the item has no valid one."""
    try:
        return _ID.validate_python(item[name] if isinstance(item, dict) else None)
    except (KeyError, ValidationError):
        return None


def json_text(value: Any) -> str:
    """Returns the JSON text of a value that may hold models, without the fields that are not set."""
    return to_json(value, exclude_none=True).decode() if value else "{}"


def differences(stored: Any, given: Any, pointer: str = "") -> Iterator[str]:
    """Yields JSON pointers to the differences of two documents; for signals of two kinds, the pointer to the signal."""
    if isinstance(stored, dict) and isinstance(given, dict) and stored.get("kind") == given.get("kind"):
        for name in sorted(stored.keys() | given.keys()):
            inner = f"{pointer}/{pointer_part(name)}"
            if name in stored and name in given:
                yield from differences(stored[name], given[name], inner)
            else:
                yield inner
    elif stored != given:
        yield pointer


def _prompt(prompt: wire.Prompt | None) -> Any:
    if prompt is None or isinstance(prompt, str):
        return prompt
    if isinstance(prompt, wire.ChatWithTools):
        return prompt.model_dump(mode="json", exclude_none=True)
    return [message.model_dump(mode="json", exclude_none=True) for message in prompt]
