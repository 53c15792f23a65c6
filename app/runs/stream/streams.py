"""The open streams of one process: each follows a run until it ends, the follower goes, or the server stops.

A stream that waits holds neither a thread nor a connection to Postgres: once a second it looks how its run stands, in a
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

#: So often a stream looks how its run stands.
LOOK_SECONDS = 1.0
#: A stream that has nothing to tell for so long says that it is there: proxies close silent connections.
SILENT_SECONDS = 15.0
#: After so long a stream ends; who follows comes back, and shows its key again.
LONGEST_SECONDS = 3600.0
#: A browser comes back so soon after a stream was cut.
RETRY_MILLISECONDS = 2000

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Shared(Generic[Key, Value]):
    """`look` in a thread, once for all who ask for the same within `LOOK_SECONDS`."""

    def __init__(self, look: Callable[[Key], Value]) -> None:
        self._look = look
        self._looks: dict[Key, tuple[float, asyncio.Task[Value]]] = {}

    async def __call__(self, key: Key) -> Value:
        now = time.monotonic()
        self._looks = {known: look for known, look in self._looks.items() if now - look[0] < LOOK_SECONDS}
        if key not in self._looks:
            look = asyncio.create_task(asyncio.to_thread(self._look, key))
            look.add_done_callback(lambda done: done.cancelled() or done.exception())  # though nobody waits any more
            self._looks[key] = (now, look)
        return await asyncio.shield(self._looks[key][1])


class Streams:
    """Made in the event loop that the streams run in."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._standing: Shared[UUID, service.Standing] = Shared(service.standing)
        self._written: Shared[tuple[UUID, int], list[service.Written]] = Shared(lambda of: service.written_after(*of))

    def stop(self) -> None:
        """Have every stream end now; may be called from any thread, and by the handler of a signal."""
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def follow(self, run_id: UUID, place: Place) -> AsyncIterator[bytes]:
        """Server-sent events of the run behind `place`: the last one is `end`, unless the stream is cut before."""
        yield format_sse_event(retry=RETRY_MILLISECONDS)
        began = spoke = time.monotonic()
        shown: Mapping[str, Any] | None = None
        warned: set[str] = set()
        while True:
            try:
                now = await self._standing(run_id)
                while self._behind(place, now) and (rows := await self._written((run_id, place.number))):
                    for row in rows:
                        event, place = service.told(row, place)
                        yield _frame(event)
                    spoke = time.monotonic()
            except Unavailable as error:
                log.warning("run %s cannot be looked at for those who follow it: %s", run_id, error)
            else:
                # The list begins again where training does, so what was told is known by its words.
                warned = warned or set(now.warnings[: place.warnings])
                place = replace(place, warnings=min(place.warnings, len(now.warnings)))
                for count, message in enumerate(now.warnings, 1):
                    place = replace(place, warnings=count)
                    if message not in warned:
                        warned.add(message)
                        yield _frame(service.warned(message, place))
                if now.progress != shown:
                    shown, spoke = now.progress, time.monotonic()
                    yield _frame(service.progress(now, place))
                if now.ends_at(place):
                    yield _frame(service.ended(now, place))
                    return
            if time.monotonic() - spoke >= SILENT_SECONDS:
                spoke = time.monotonic()
                yield format_sse_event(comment="nothing new")
            if time.monotonic() - began >= LONGEST_SECONDS or await self._stopped_within(LOOK_SECONDS):
                return

    def _behind(self, place: Place, now: service.Standing) -> bool:
        return place.number < now.number and not self._stopping.is_set()

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _frame(event: AnyRunEvent) -> bytes:
    return format_sse_event(event=event.event, id=event.id, data_str=event.model_dump_json())
