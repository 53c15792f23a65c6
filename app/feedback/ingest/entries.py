"""Converts the bodies of requests to rows of the log."""

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from thumbwheel import wire

from app.feedback import signals
from app.feedback.ingest import append, msgspec_reader


class IngestEntry(NamedTuple):
    """A body that is to be stored: `row` begins with project and id; `body` is compared if the id is taken already."""

    row: tuple[Any, ...]
    body: Any


def event_entry(project: str, event: wire.Event, known_as: str | None = None) -> IngestEntry:
    """Returns the event as a row of the log.

    known_as  the caller's own id of the actor, where `event` has the hash of it: for tombstones, and never stored
    """
    stored = signals.as_stored(event)
    prompt = stored.prompt
    text, messages = (prompt, None) if prompt is None or isinstance(prompt, str) else (None, signals.json_text(prompt))
    answer = None if stored.completion is None else signals.answer_of(stored.completion)
    row: append.EventRow = (
        project, signals.id_of(stored), stored.completion_id, stored.actor, signals.json_text(stored.signal), text,
        messages, answer and answer.text, stored.checkpoint_id, stored.occurred_at, stored.supersedes,
        stored.conversation_id, signals.json_text(stored.metadata), stored.never_train, stored.origin,
        _json_or_none(answer and answer.message), known_as,
    )  # fmt: skip
    return IngestEntry(row, stored)


def quick_entry(project: str, body: bytes, known_as: str | None = None) -> IngestEntry | None:
    """Returns the event in `body`, JSON text, as a row of the log; None if `wire.Event` has to parse it.

    known_as  as for `event_entry`
    """
    read = msgspec_reader.read(body, time.time())
    if read is None:
        return None
    event, occurred_at = read
    prompt = event.prompt
    text, messages = (
        (prompt, None) if prompt is None or isinstance(prompt, str) else (None, msgspec_reader.json_text(prompt))
    )
    row: append.EventRow = (
        project, event.event_id, event.completion_id, event.actor, msgspec_reader.json_text(event.signal), text,
        messages, event.completion, event.checkpoint_id, occurred_at, event.supersedes, event.conversation_id,
        msgspec_reader.json_text(event.metadata), event.never_train, event.origin, None, known_as,
    )  # fmt: skip
    return IngestEntry(row, body)


def completion_entry(project: str, completion_id: str, completion: wire.Completion) -> IngestEntry:
    """Returns the registered completion as a row of its table."""
    answer = signals.answer_of(completion.completion)
    row: append.CompletionRow = (
        project, completion_id, signals.json_text(completion.prompt), answer.text, completion.checkpoint_id,
        completion.conversation_id, signals.json_text(completion.sampling), _array(completion.token_ids),
        _array(completion.log_probs), signals.json_text(completion.metadata), _json_or_none(answer.message),
    )  # fmt: skip
    return IngestEntry(row, completion)


def _json_or_none(message: dict[str, Any] | None) -> str | None:
    return None if message is None else json.dumps(message, ensure_ascii=False)


def _array(numbers: Sequence[float] | None) -> str | None:
    """Returns the numbers as an array literal of Postgres."""
    return None if numbers is None else "{" + ",".join(map(repr, numbers)) + "}"
