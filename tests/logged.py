"""Writes events to the log as requests do, but without HTTP."""

import asyncio
import atexit
import threading
from collections.abc import Iterable
from typing import Any

from thumbwheel import wire

from app import settings
from app.errors import ThumbwheelError
from app.feedback.ingest.entries import IngestEntry, completion_entry, event_entry
from app.feedback.ingest.group_commit import Intake, intake
from app.feedback.ingest.kinds import COMPLETIONS, EVENTS, BodyOutcome, Kind

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
    url = settings.current().need_libpq_database()
    if threading.current_thread() is threading.main_thread():
        return _main_thread.run(_on_open_connection(url, kind, entries))

    async def send() -> list[Answer]:
        async with intake(url) as way_in:
            return await way_in.record(kind, entries)

    return asyncio.run(send())


#: The event loop of the main thread, whose intakes stay open: a new connection takes longer than most calls.
_main_thread = asyncio.Runner()
atexit.register(_main_thread.close)
_intakes: dict[str, Intake] = {}


async def _on_open_connection(url: str, kind: Kind, entries: list[IngestEntry]) -> list[Answer]:
    for _ in range(3):  # notices a connection that Postgres closed since the last call, with its last words
        await asyncio.sleep(0)
    if url not in _intakes:
        _intakes[url] = Intake(url)
    return await _intakes[url].record(kind, entries)


def close() -> None:
    """Closes the connections of the main thread."""

    async def close_all() -> None:
        while _intakes:
            await _intakes.popitem()[1].close()

    if _intakes:
        _main_thread.run(close_all())
