"""Writes events to the log as requests do, but without HTTP."""

import asyncio
from collections.abc import Iterable
from typing import Any

from thumbwheel import wire

from app import settings
from app.errors import ThumbwheelError
from app.feedback.ingest.entries import IngestEntry, completion_entry, event_entry
from app.feedback.ingest.group_commit import COMPLETIONS, EVENTS, BodyOutcome, Kind, intake

Answer = BodyOutcome | ThumbwheelError


def record(project: str, events: Iterable[dict[str, Any] | wire.Event]) -> list[Answer]:
    """Sends events to the log and returns the outcome or error of each."""
    models = [event if isinstance(event, wire.Event) else wire.Event.model_validate(event) for event in events]
    return _send(EVENTS, [event_entry(project, event) for event in models])


def store(project: str, events: Iterable[dict[str, Any] | wire.Event]) -> None:
    """Stores all events in the log, and fails the test if any of them is refused."""
    for answer in record(project, events):
        assert isinstance(answer, BodyOutcome), answer
        assert answer.status in ("stored", "replayed"), answer


def register(project: str, completion_id: str, completion: dict[str, Any]) -> Answer:
    """Registers a completion and returns the outcome or error."""
    [answer] = _send(
        COMPLETIONS, [completion_entry(project, completion_id, wire.Completion.model_validate(completion))]
    )
    return answer


def _send(kind: Kind, entries: list[IngestEntry]) -> list[Answer]:
    async def send() -> list[Answer]:
        async with intake(settings.current().need_libpq_database()) as way_in:
            return await way_in.record(kind, entries)

    return asyncio.run(send())
