"""Group commit: requests that come at the same time share one transaction, and are answered after its commit.

    request ─▶ queue ─▶ writer: one statement, committed ─▶ each request hears what became of its bodies

Nothing is answered before its commit. A body that Postgres refuses fails alone: the batch is halved until it is found.
Where the queue is full, or Postgres away, a request is told to come again; whoever hangs up is stored all the same.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, NamedTuple

import asyncpg
from thumbwheel import wire

from app import postgres_errors
from app.errors import MOST_FAULTS, Invalid, ThumbwheelError, Unavailable
from app.feedback import signals
from app.feedback.ingest import append
from app.feedback.ingest.entries import Entry

log = logging.getLogger(__name__)

#: Bodies of one transaction.
MOST_BODIES = 500
#: A first writer takes what waits at once; the others only so many, while it is still busy: the processor's time of a
#: transaction is then shared by enough of them, and Postgres has work while requests are read.
CROWD = 8
WRITERS = 2
#: What may wait for its commit; beyond it a request is refused at once, with 503.
ROOM_BODIES = 20_000
ROOM_BYTES = 256 * 1024 * 1024
#: With memory for a batch of the longest bodies before it goes to disk.
SESSION = {
    "application_name": "thumbwheel intake",
    "synchronous_commit": "on",
    "work_mem": "64MB",
    "idle_in_transaction_session_timeout": "10s",
}
CONNECT_SECONDS, COMMAND_SECONDS, DRAIN_SECONDS = 5, 30, 60

#: Errors that lie in a body; all others lie in Postgres or on the way there, and concern the whole batch.
OF_A_BODY = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.RaiseError,
    asyncpg.ProgramLimitExceededError,
    ValueError,
    OverflowError,
)


class Outcome(NamedTuple):
    """`erased`: it was erased, and stays away; `erased_actor`: so does whatever its actor says."""

    id: str
    status: Literal["stored", "replayed", "conflict", "erased", "erased_actor"]
    differs: tuple[str, ...] = ()  # JSON pointers, where it is a conflict


@dataclass(frozen=True)
class Kind:
    """What is appended, and how to compare it with what is there."""

    insert: Callable[..., Awaitable[list[append.Fate]]]
    stored: Callable[..., Awaitable[dict[append.Key, dict[str, Any]]]]
    document: Callable[[Any], dict[str, Any]]


def _document(body: wire.Event | bytes) -> dict[str, Any]:
    event = body if isinstance(body, wire.Event) else wire.Event.model_validate_json(body)
    return signals.document(event)


EVENTS = Kind(append.append_events, append.events_of, _document)
COMPLETIONS = Kind(append.append_completions, append.completions_of, signals.completion_document)


@dataclass(eq=False)
class _Waiting:
    kind: Kind
    entries: Sequence[Entry]
    size: int
    answer: asyncio.Future[list[Outcome | ThumbwheelError]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def trial(self) -> bool:
        return not self.entries


class Intake:
    """The way into the log for all requests of one process; to be used inside one event loop.

    database_url  as libpq writes it: ``postgresql://…``
    room          bodies that may wait
    """

    def __init__(self, database_url: str, *, room: int = ROOM_BODIES, writers: int = WRITERS) -> None:
        self._database_url = database_url
        self._room = room
        self._room_bytes = ROOM_BYTES
        self._queue: deque[_Waiting] = deque()
        self._something = asyncio.Event()
        self._closing = False
        self._busy = 0
        self._queued = 0
        self._takes_events = False
        self._writers = [asyncio.create_task(self._write(), name=f"intake {number}") for number in range(writers)]

    async def record(self, kind: Kind, entries: Sequence[Entry], size: int = 0) -> list[Outcome | ThumbwheelError]:
        """What became of each entry, after the commit; an error for each one that Postgres refuses.

        size  of the request, in bytes

        Raises `Unavailable` where there is no room, or Postgres is away: nothing may be stored then, or some of it.
        """
        outcomes: list[Outcome | ThumbwheelError] = []
        for start in range(0, len(entries), MOST_BODIES):  # one after the other: they keep their order in the log
            part = entries[start : start + MOST_BODIES]
            self._require_room(len(part), size)
            waiting = _Waiting(kind, part, size if start == 0 else 0)
            self._room -= len(part)
            self._room_bytes -= waiting.size
            self._queue.append(waiting)
            self._queued += len(part)
            if self._busy == 0 or self._queued >= CROWD:
                self._something.set()
            outcomes += await waiting.answer
        return outcomes

    async def require_writable(self) -> None:
        """Raises `Unavailable` where Postgres would not store an event now, with the reason.

        Where the last batch was stored, nothing is done. Else an event is appended and undone.
        """
        if not self._takes_events:
            waiting = _Waiting(EVENTS, (), 0)
            self._queue.append(waiting)
            self._something.set()
            await waiting.answer

    async def close(self) -> None:
        """Take nothing more, store what was taken, and let go of Postgres."""
        self._closing = True
        self._something.set()
        _, late = await asyncio.wait(self._writers, timeout=DRAIN_SECONDS)
        for writer in late:
            writer.cancel()

    def _require_room(self, bodies: int, size: int) -> None:
        if self._closing:
            raise Unavailable("This server is stopping: send it again, to another one or in a moment.", code="stopping")
        if self._queue and (bodies > self._room or size > self._room_bytes):
            raise Unavailable("More events come in than Postgres takes: send it again in a moment.", code="intake_full")

    async def _write(self) -> None:
        connection: asyncpg.Connection | None = None
        while batch := await self._take():
            try:
                if connection is None or connection.is_closed():
                    connection = await self._connect()
                await self._store(connection, batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, the senders hear of it and the writer lives on
                self._takes_events = False
                _fail(batch, error)
                if connection is not None:
                    connection.terminate()
                connection = None
            finally:
                self._busy -= 1
                self._room += sum(len(waiting.entries) for waiting in batch)
                self._room_bytes += sum(waiting.size for waiting in batch)
        if connection is not None:
            await connection.close()

    async def _take(self) -> list[_Waiting]:
        """What goes into the next transaction; nothing once all is stored and nothing more will come."""
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
        outcomes = iter(await _outcomes(connection, kind, [entry for waiting in batch for entry in waiting.entries]))
        self._takes_events = True
        for waiting in batch:
            answer = [next(outcomes) for _ in waiting.entries]
            if not waiting.answer.done():
                waiting.answer.set_result(answer)


async def _outcomes(
    connection: asyncpg.Connection, kind: Kind, entries: Sequence[Entry]
) -> list[Outcome | ThumbwheelError]:
    """Store the entries in one transaction; where that fails by one of them, in halves."""
    try:
        fates = await kind.insert(connection, [entry.row for entry in entries])
    except OF_A_BODY as error:
        if append.lacks_partition(error):
            raise _no_partition() from error
        if len(entries) == 1:
            reason = postgres_errors.without_values(error)
            log.warning("Postgres refuses a body of project %s: %s", entries[0].row[0], reason)
            return [_refused(error)]
        half = len(entries) // 2
        return await _outcomes(connection, kind, entries[:half]) + await _outcomes(connection, kind, entries[half:])
    if fates.count("new") == len(fates):
        return [Outcome(entry.row[1], "stored") for entry in entries]
    there = {entry.row[:2] for entry, fate in zip(entries, fates, strict=True) if fate == "there"}
    stored = await kind.stored(connection, there) if there else {}
    return [
        Outcome(entry.row[1], "stored" if fate == "new" else "erased_actor")
        if fate != "there"
        else _compared(kind, entry, stored.get(entry.row[:2]))
        for entry, fate in zip(entries, fates, strict=True)
    ]


def _compared(kind: Kind, entry: Entry, stored: dict[str, Any] | None) -> Outcome:
    """Of what was erased the id is there, and nothing else."""
    if stored is None:
        return Outcome(entry.row[1], "erased")
    given = kind.document(entry.body)
    if stored == given:
        return Outcome(entry.row[1], "replayed")
    return Outcome(entry.row[1], "conflict", tuple(islice(signals.differences(stored, given), MOST_FAULTS)))


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    passing = postgres_errors.passing(error)
    if batch[0].trial:  # a probe asks every few seconds: nobody's event was lost
        refused = _no_partition() if append.lacks_partition(error) else None
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


def _no_partition() -> Unavailable:
    return Unavailable(
        "The feedback log has no partition for this month: `thumbwheel doctor` says more.", code="no_partition"
    )


def _refused(error: Exception) -> Invalid:
    return Invalid(f"Postgres cannot store this body ({error}): change it before you send it again.", code="unstorable")


@asynccontextmanager
async def intake(database_url: str) -> AsyncIterator[Intake]:
    """An intake while the block lasts; it ends once all that was taken is stored."""
    running = Intake(database_url)
    try:
        yield running
    finally:
        await running.close()
