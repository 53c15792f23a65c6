"""Bounds on the work that one process of the API does at the same time: see docs/decisions/admission.md.

Capacity   ordinary requests, and readings of whole logs: admitted before they have a thread or a connection
Lane       short work on connections and threads of its own, which no other work keeps waiting
Coalesced  one answer for all who wait for the same
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import anyio
from anyio import to_thread
from fastapi.concurrency import contextmanager_in_threadpool
from sqlalchemy.orm import Session

from app import postgres_errors
from app.database import Purpose, request_connections, transaction
from app.whole_logs import READINGS, readings_under_way

T = TypeVar("T")
Key = TypeVar("Key", bound=Hashable)

#: For so long a request waits for its turn.
WAIT_SECONDS = 2.0
#: Threads besides those of admitted requests: for files that are downloaded, a chunk at a time.
FILE_THREADS = 16
#: Waiters that hear their answer in one round of the event loop. Other requests go on in between.
ANSWERED_AT_ONCE = 20


class Capacity:
    """Admits requests in one event loop."""

    def __init__(self) -> None:
        requests = request_connections()
        self._requests = anyio.CapacityLimiter(requests)
        self._readings = anyio.CapacityLimiter(Purpose.WHOLE_LOG.sessions)
        to_thread.current_default_thread_limiter().total_tokens = requests + Purpose.WHOLE_LOG.sessions + FILE_THREADS

    @asynccontextmanager
    async def session(self, *, whole_log: bool) -> AsyncIterator[Session]:
        """Yields the transaction of a request, once it is its turn; committed when the block ends.

        whole_log  the request always reads a whole log

        Raises `Unavailable` after `WAIT_SECONDS`, and as `transaction` does.
        """
        limiter, purpose = (
            (self._readings, Purpose.WHOLE_LOG) if whole_log else (self._requests, Purpose.REQUESTS)
        )  # fmt: skip
        turn = object()
        try:
            with anyio.fail_after(WAIT_SECONDS):
                await limiter.acquire_on_behalf_of(turn)
        except TimeoutError as error:
            raise (readings_under_way() if whole_log else postgres_errors.busy()) from error
        try:
            async with contextmanager_in_threadpool(transaction(purpose)) as session:
                if not whole_log:
                    session.info[READINGS] = self._readings
                yield session
        finally:
            limiter.release_on_behalf_of(turn)


class Lane:
    """Short work on the connections of one purpose, with as many threads."""

    def __init__(self, purpose: Purpose, seconds: float = WAIT_SECONDS) -> None:
        self._purpose = purpose
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(purpose.sessions, thread_name_prefix=purpose.name.lower())

    async def run(self, work: Callable[[Session], T]) -> T:
        """Returns the result of `work`, after its commit. Raises `Unavailable` for one too slow, and as `work`."""
        begun = asyncio.get_running_loop().run_in_executor(self._threads, self._do, work)
        try:
            return await asyncio.wait_for(begun, self._seconds)
        except TimeoutError as error:
            raise postgres_errors.away() from error

    def close(self) -> None:
        """Takes no more work, and does not wait for what is under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _do(self, work: Callable[[Session], T]) -> T:
        with transaction(self._purpose) as session:
            return work(session)


class Coalesced(Generic[Key, T]):
    """Asks once for all who wait for the same. Nobody gets an answer whose question began before theirs."""

    def __init__(self, ask: Callable[[Key], Awaitable[T]]) -> None:
        self._ask = ask
        self._waiting: dict[Key, list[asyncio.Future[T]]] = {}
        self._asking: dict[Key, asyncio.Task[None]] = {}

    async def __call__(self, key: Key) -> T:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(answer)
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(self._answer(key))
        return await answer

    async def _answer(self, key: Key) -> None:
        while waiting := self._waiting.pop(key, None):
            asked = asyncio.ensure_future(self._ask(key))
            await asyncio.wait([asked])
            for number, one in enumerate(waiting, 1):
                _answer_as(asked, one)
                if number % ANSWERED_AT_ONCE == 0:
                    await asyncio.sleep(0)
        del self._asking[key]


def _answer_as(asked: asyncio.Future[T], one: asyncio.Future[T]) -> None:
    if one.done():
        return
    error = asked.exception()
    if error is None:
        one.set_result(asked.result())
    else:
        one.set_exception(error)
