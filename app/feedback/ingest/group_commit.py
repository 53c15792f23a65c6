"""Group commit: concurrent requests share one transaction, and are answered after its commit.

    request ─▶ queue ─▶ writer: one statement, committed ─▶ each request gets the outcomes of its bodies

Nothing is answered before its commit. A body that Postgres refuses fails alone: the batch is halved until it is found.
If the queue is full or Postgres is unavailable, a request is answered with 503. Hanging up cancels no commit.

All feedback but copies of logs comes this way, so this is where texts are masked and actors hashed: see
`known_protections`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter

import asyncpg

from app import postgres_errors
from app.errors import Unavailable
from app.feedback.ingest import append
from app.feedback.ingest.entries import IngestEntry
from app.feedback.ingest.figures import IngestFigures
from app.feedback.ingest.kinds import EVENTS, Kind, Result
from app.feedback.ingest.known_protections import KnownProtections
from app.feedback.ingest.outcomes import no_partition, stored
from app.feedback.ingest.protected import ProtectedEntry
from app.projects.protection.setting import UNPROTECTED

log = logging.getLogger(__name__)

#: The largest number of bodies in one transaction.
MOST_BODIES = 500
#: An idle intake writes waiting bodies at once. While a writer is busy, the next one starts at this number of bodies:
#: enough to share the cost of a transaction, and Postgres has work while requests are read.
CROWD = 8
WRITERS = 2
#: Bounds on the queue; beyond them a request is refused at once, with 503.
ROOM_BODIES = 20_000
ROOM_BYTES = 256 * 1024 * 1024
#: Settings of the session; `work_mem` holds a batch of the longest bodies.
SESSION = {
    "application_name": "thumbwheel intake",
    "synchronous_commit": "on",
    "work_mem": "64MB",
    "idle_in_transaction_session_timeout": "10s",
}
CONNECT_SECONDS, COMMAND_SECONDS, DRAIN_SECONDS = 5, 30, 60


@dataclass(eq=False)
class _Waiting:
    kind: Kind
    entries: Sequence[IngestEntry]
    ready: Sequence[ProtectedEntry] | None
    size: int
    answer: asyncio.Future[list[Result]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def trial(self) -> bool:
        return not self.entries


class Intake:
    """The queue and writers of the log for all requests of one process; used inside one event loop.

    database_url  a URL for libpq: ``postgresql://…``
    room          the number of bodies that may wait
    """

    def __init__(self, database_url: str, *, room: int = ROOM_BODIES, writers: int = WRITERS) -> None:
        self._database_url = database_url
        self._most = self._room = room
        self._room_bytes = ROOM_BYTES
        self._queue: deque[_Waiting] = deque()
        self._something = asyncio.Event()
        self._closing = False
        self._busy = 0
        self._queued = 0
        self._protecting = 0
        self._takes_events = False
        self._protections = KnownProtections()
        self.figures = IngestFigures()
        self._writers = [asyncio.create_task(self._write(), name=f"intake {number}") for number in range(writers)]

    async def record(self, kind: Kind, entries: Sequence[IngestEntry], size: int = 0) -> list[Result]:
        """Returns the outcome of each entry after the commit, or an error for an entry that Postgres refuses.

        size  the size of the request in bytes

        Raises `Unavailable` if the queue is full or Postgres is unavailable: some of the entries may be stored then.
        """
        outcomes: list[Result] = []
        for start in range(0, len(entries), MOST_BODIES):  # one after the other: they keep their order in the log
            part = entries[start : start + MOST_BODIES]
            self._require_room(len(part), size)
            waiting = _Waiting(kind, part, None, size if start == 0 else 0)
            self._room -= len(part)
            self._room_bytes -= waiting.size
            if not self._protections.made(part, None):
                await self._protect(waiting)
            self._queue.append(waiting)
            self._queued += len(part)
            if self._busy == 0 or self._queued >= CROWD:
                self._something.set()
            outcomes += await waiting.answer
        return outcomes

    @property
    def waiting(self) -> tuple[int, int]:
        """The number of bodies that wait for a transaction or are in one, and the size of their requests in bytes."""
        return self._most - self._room, ROOM_BYTES - self._room_bytes

    async def require_writable(self) -> None:
        """Raises `Unavailable`, with the reason, if Postgres would not store an event now.

        If the last batch was stored, this returns at once. Otherwise it appends an event and rolls it back.
        """
        if not self._takes_events:
            waiting = _Waiting(EVENTS, (), None, 0)
            self._queue.append(waiting)
            self._something.set()
            await waiting.answer

    async def close(self) -> None:
        """Refuses new bodies, stores the waiting ones, and closes the connections to Postgres."""
        self._closing = True
        self._something.set()
        _, late = await asyncio.wait(self._writers, timeout=DRAIN_SECONDS)
        for writer in late:
            writer.cancel()

    async def _protect(self, waiting: _Waiting) -> None:
        """Masks and hashes by the settings of the projects, in the room that the entries have in the queue."""
        self._protecting += 1
        try:
            waiting.ready = await self._protections.protected(waiting.entries)
            self._require_open()
        except BaseException:
            self._room += len(waiting.entries)
            self._room_bytes += waiting.size
            raise
        finally:
            self._protecting -= 1

    def _require_open(self) -> None:
        if self._closing:
            raise Unavailable("This server is stopping: retry in a moment, or at another server.", code="stopping")

    def _require_room(self, bodies: int, size: int) -> None:
        self._require_open()
        if (self._queue or self._protecting) and (bodies > self._room or size > self._room_bytes):
            raise Unavailable("More events arrive than Postgres can store: retry in a moment.", code="intake_full")

    async def _write(self) -> None:
        connection: asyncpg.Connection | None = None
        while batch := await self._take():
            try:
                if connection is None or connection.is_closed():
                    connection = await self._connect()
                await self._store(connection, batch)
            except Exception as error:  # noqa: BLE001 - any error goes to the senders, and the writer continues
                self._takes_events = False
                for waiting in batch:
                    for entry in waiting.entries:
                        self.figures.count(waiting.kind.name, entry.row[0], "unavailable")
                _fail(batch, error)
                if connection is not None:
                    connection.terminate()
                connection = None
            finally:
                self._busy -= 1
                self._room += sum(len(waiting.entries) for waiting in batch)
                self._room_bytes += sum(waiting.size for waiting in batch)
        if connection is not None:
            await self.figures.new_findings.write(connection, last=True)
            await connection.close()

    async def _take(self) -> list[_Waiting]:
        """Waits for the requests of the next transaction; returns none once the intake is closed and all is stored."""
        while not (self._queue and (self._busy == 0 or self._queued >= CROWD or self._closing)):
            if self._closing:
                return []
            self._something.clear()
            await self._something.wait()
        if self._queue[0].trial:
            self._busy += 1
            return [self._queue.popleft()]
        batch, bodies, kind = [], 0, self._queue[0].kind
        while self._queue and self._next_is(kind) and bodies + len(self._queue[0].entries) <= MOST_BODIES:
            batch.append(self._queue.popleft())
            bodies += len(batch[-1].entries)
        self._queued -= bodies
        self._busy += 1
        return batch

    def _next_is(self, kind: Kind) -> bool:
        return self._queue[0].kind is kind and not self._queue[0].trial

    async def _connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(
            self._database_url,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            server_settings=SESSION,
        )

    async def _store(self, connection: asyncpg.Connection, batch: Sequence[_Waiting]) -> None:
        if batch[0].trial:
            await append.try_to_append(connection)
            self._takes_events = True
            if not batch[0].answer.done():
                batch[0].answer.set_result([])
            return
        kind = batch[0].kind
        entries = [entry for waiting in batch for entry in waiting.entries]
        began = perf_counter()
        results, ready = await stored(connection, kind, entries, _ready(batch), self._protections)
        self.figures.committed(kind.name, entries, results, perf_counter() - began)
        if ready is not None:
            self.figures.redacted(ready, results)
        outcomes = iter(results)
        self._takes_events = True
        for waiting in batch:
            answer = [next(outcomes) for _ in waiting.entries]
            if not waiting.answer.done():
                waiting.answer.set_result(answer)
        await self.figures.new_findings.write(connection)


def _ready(batch: Sequence[_Waiting]) -> list[ProtectedEntry] | None:
    """Returns what is to be stored of each entry of the batch; None if that is what was sent."""
    if all(waiting.ready is None for waiting in batch):
        return None
    return [
        each
        for waiting in batch
        for each in waiting.ready or (ProtectedEntry(entry, UNPROTECTED) for entry in waiting.entries)
    ]


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    passing = postgres_errors.passing(error)
    if batch[0].trial:  # a health probe, every few seconds: no event was lost
        refused = no_partition() if append.lacks_partition(error) else None
        reason = postgres_errors.without_values(error)
        passing = passing or refused or Unavailable(f"Postgres refuses every event: {reason}.", code="events_refused")
    elif passing is not None:
        reason = postgres_errors.without_values(error)
        log.warning("events were not stored, their senders have to send them again: %s", reason)
    else:
        postgres_errors.hide_values(error)
        log.error("events were not stored", exc_info=error)
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(passing or error)


@asynccontextmanager
async def intake(database_url: str) -> AsyncIterator[Intake]:
    """Provides an intake for the block, and stores all waiting bodies at its end."""
    running = Intake(database_url)
    try:
        yield running
    finally:
        await running.close()
