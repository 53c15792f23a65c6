"""The open streams of one process: each follows a run until it ends, the follower disconnects, or the server stops.

A waiting stream holds neither a thread nor a connection to Postgres. Once a second it reads the state of its run, in a
short transaction that all streams of the run share.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar
from uuid import UUID

from fastapi.sse import format_sse_event
from thumbwheel.wire.run_events import AnyRunEvent

from app.errors import Unavailable
from app.runs.stream import service
from app.runs.stream.event_id import Place

log = logging.getLogger(__name__)

#: Seconds between two readings of a run by its streams.
LOOK_SECONDS = 1.0
#: Seconds without an event after which a stream sends a comment, because proxies close silent connections.
SILENT_SECONDS = 15.0
#: The longest duration of a stream. The follower then reconnects, and is authorized again.
LONGEST_SECONDS = 3600.0
#: Milliseconds after which a browser reconnects when a stream was interrupted.
RETRY_MILLISECONDS = 2000

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class SharedLookup(Generic[Key, Value]):
    """Calls `look` in a thread, once for all requests of the same key within `LOOK_SECONDS`."""

    def __init__(self, look: Callable[[Key], Value]) -> None:
        self._look = look
        self._looks: dict[Key, tuple[float, asyncio.Task[Value]]] = {}

    async def __call__(self, key: Key) -> Value:
        now = time.monotonic()
        self._looks = {known: look for known, look in self._looks.items() if now - look[0] < LOOK_SECONDS}
        if key not in self._looks:
            look = asyncio.create_task(asyncio.to_thread(self._look, key))
            # An exception counts as retrieved even if nobody waits for the task any more.
            look.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._looks[key] = (now, look)
        return await asyncio.shield(self._looks[key][1])


class Streams:
    """The streams of one event loop, in which it has to be created."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._standing: SharedLookup[UUID, service.StreamedRun] = SharedLookup(service.standing)
        self._written: SharedLookup[tuple[UUID, int], list[service.Written]] = SharedLookup(
            lambda of: service.written_after(*of)
        )

    def stop(self) -> None:
        """Ends every stream now. May be called from any thread, and from a signal handler."""
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def follow(self, run_id: UUID, place: Place) -> AsyncIterator[bytes]:
        """Yields the server-sent events of the run after `place`. The last one is `end`, unless the stream is cut."""
        yield format_sse_event(retry=RETRY_MILLISECONDS)
        began = last_sent = time.monotonic()
        shown: Mapping[str, Any] | None = None
        warned: set[str] = set()
        while True:
            try:
                now = await self._standing(run_id)
                while self._behind(place, now) and (rows := await self._written((run_id, place.number))):
                    for row in rows:
                        event, place = service.event_of(row, place)
                        yield _frame(event)
                    last_sent = time.monotonic()
            except Unavailable as error:
                log.warning("run %s cannot be looked at for those who follow it: %s", run_id, error)
            else:
                # The list restarts with the training, so warnings already sent are recognised by their text.
                warned = warned or set(now.warnings[: place.warnings])
                place = replace(place, warnings=min(place.warnings, len(now.warnings)))
                for count, message in enumerate(now.warnings, 1):
                    place = replace(place, warnings=count)
                    if message not in warned:
                        warned.add(message)
                        yield _frame(service.warned(message, place))
                if now.progress != shown:
                    shown, last_sent = now.progress, time.monotonic()
                    yield _frame(service.progress(now, place))
                if now.ends_at(place):
                    yield _frame(service.ended(now, place))
                    return
            if time.monotonic() - last_sent >= SILENT_SECONDS:
                last_sent = time.monotonic()
                yield format_sse_event(comment="nothing new")
            if time.monotonic() - began >= LONGEST_SECONDS or await self._stopped_within(LOOK_SECONDS):
                return

    def _behind(self, place: Place, now: service.StreamedRun) -> bool:
        return place.number < now.number and not self._stopping.is_set()

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _frame(event: AnyRunEvent) -> bytes:
    return format_sse_event(event=event.event, id=event.id, data_str=event.model_dump_json())
