"""Registers completions behind the answers: a bounded queue, written in the group commit of the log.

    last byte ─▶ queue ─▶ transaction of up to 500 ─▶ registered

Nothing here delays an answer. While Postgres is away, registrations wait and are tried again; when the queue is full,
new ones are dropped and counted. What waits is in memory: a process that is killed loses it.
"""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from itertools import islice

from app.errors import ThumbwheelError, Unavailable
from app.feedback.ingest.entries import IngestEntry, completion_entry
from app.feedback.ingest.group_commit import MOST_BODIES, Intake
from app.feedback.ingest.kinds import COMPLETIONS, Result
from app.gateway.counters import Counters
from app.gateway.written import Unregistrable, WrittenCompletion

log = logging.getLogger(__name__)

MOST_WAITING = 20_000
MOST_WAITING_BYTES = 256 * 2**20
#: Bounds on one transaction besides the number of its rows.
BATCH_BYTES = 16 * 2**20
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 5.0
DRAIN_SECONDS = 20.0
#: Entries that are prepared in one round of the event loop, so that streams go on in between.
PREPARED_AT_ONCE = 20
#: The words that refused registrations are counted by, by the code of the error.
REASONS = {"personal_data": "personal_data", "pseudonym_key": "pseudonym_key"}


@dataclass(frozen=True)
class _Prepared:
    written: WrittenCompletion
    entry: IngestEntry


class Registrations:
    """The queue of one process."""

    def __init__(
        self,
        intake: Intake,
        counters: Counters,
        *,
        most_waiting: int = MOST_WAITING,
        most_bytes: int = MOST_WAITING_BYTES,
    ) -> None:
        self._intake = intake
        self._counters = counters
        self._most_waiting, self._most_bytes = most_waiting, most_bytes
        self._queue: deque[WrittenCompletion] = deque()
        self._bytes = 0
        self._something = asyncio.Event()
        self._closing = False
        self.away = False
        self._writer = asyncio.create_task(self._write(), name="gateway registrations")

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def bytes(self) -> int:
        return self._bytes

    def put(self, written: WrittenCompletion) -> None:
        """Queues a registration, or drops and counts it if the queue is full."""
        if len(self._queue) >= self._most_waiting or self._bytes + written.size > self._most_bytes:
            self._counters.unregistered(written.project, "database_away" if self.away else "queue_full")
            return
        self._queue.append(written)
        self._bytes += written.size
        self._something.set()

    async def close(self, seconds: float = DRAIN_SECONDS) -> None:
        """Registers what waits, within `seconds`; the rest is counted and logged."""
        self._closing = True
        self._something.set()
        _, late = await asyncio.wait([self._writer], timeout=seconds)
        for writer in late:
            writer.cancel()
        if self._queue:
            log.error("%d completions were not registered before this process ended", len(self._queue))
            for written in self._queue:
                self._counters.unregistered(written.project, "shutdown")
            self._queue.clear()

    async def _write(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while await self._wait():
            try:
                await self._store()
                self.away, pause = False, FIRST_PAUSE_SECONDS
            except Unavailable as error:
                self.away = error.code != "intake_full"
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _wait(self) -> bool:
        """Waits for a registration; returns False once the queue is closed and empty."""
        while not self._queue:
            if self._closing:
                return False
            self._something.clear()
            await self._something.wait()
        return True

    async def _store(self) -> None:
        """Stores the oldest registrations in one transaction, and takes them off the queue. Raises `Unavailable`."""
        batch = self._batch()
        waiting: list[_Prepared] = []
        for number, written in enumerate(batch, 1):
            try:
                entry = completion_entry(written.project, written.completion_id, written.body())
                waiting.append(_Prepared(written, entry))
            except Unregistrable as error:
                self._counters.unregistered(written.project, error.reason)
                self._remove(written)
            except Exception:
                log.exception("a completion cannot be registered")
                self._counters.unregistered(written.project, "failed")
                self._remove(written)
            if number % PREPARED_AT_ONCE == 0:
                await asyncio.sleep(0)
        if not waiting:
            return
        size = sum(each.written.size for each in waiting)
        try:
            results = await self._intake.record(COMPLETIONS, [each.entry for each in waiting], size)
        except Unavailable:
            raise
        except Exception:
            log.exception("%d completions were not registered", len(waiting))
            for each in waiting:
                self._counters.unregistered(each.written.project, "failed")
                self._remove(each.written)
            return
        for each, result in zip(waiting, results, strict=True):
            self._count(each.written, result)
            self._remove(each.written)

    def _batch(self) -> list[WrittenCompletion]:
        batch: list[WrittenCompletion] = []
        size = 0
        for written in islice(self._queue, MOST_BODIES):
            size += written.size
            if batch and size > BATCH_BYTES:
                break
            batch.append(written)
        return batch

    def _remove(self, written: WrittenCompletion) -> None:
        self._queue.remove(written)
        self._bytes -= written.size

    def _count(self, written: WrittenCompletion, result: Result) -> None:
        if isinstance(result, ThumbwheelError):
            self._counters.unregistered(written.project, REASONS.get(result.code, "unstorable"))
        elif result.status in ("stored", "replayed"):
            self._counters.registered(written.project)
        else:
            self._counters.unregistered(written.project, "conflict" if result.status == "conflict" else "erased")
