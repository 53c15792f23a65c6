"""Limits the work that one process of the API does at the same time: see docs/decisions/admission.md.

Capacity   admits ordinary requests, and readings of whole logs, before they take a thread or a connection
Lane       runs short work on its own connections and threads, so that other work does not delay it
Coalesced  gives all callers that wait for the same key one answer
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Generic, NamedTuple, TypeVar

import anyio
from anyio import to_thread
from fastapi.concurrency import contextmanager_in_threadpool
from sqlalchemy.orm import Session

from app import postgres_errors
from app.database import Purpose, request_connections, transaction
from app.whole_log_turns import READINGS, readings_under_way

T = TypeVar("T")
Key = TypeVar("Key", bound=Hashable)

#: The longest time that a request waits for its turn.
WAIT_SECONDS = 2.0
#: Additional threads, besides those of admitted requests, which read chunks of downloaded files.
FILE_THREADS = 16
#: Callers that get their answer in one round of the event loop, so that other requests go on in between.
ANSWERED_AT_ONCE = 20


class Turns(NamedTuple):
    """Requests of one kind: those that have a turn, the most that may, and those that wait for one."""

    kind: str
    admitted: int
    most: int
    waiting: int


class Capacity:
    """Admits requests in one event loop."""

    def __init__(self) -> None:
        requests = request_connections()
        self._requests = anyio.CapacityLimiter(requests)
        self._readings = anyio.CapacityLimiter(Purpose.WHOLE_LOG.sessions)
        to_thread.current_default_thread_limiter().total_tokens = requests + Purpose.WHOLE_LOG.sessions + FILE_THREADS

    def turns(self) -> list[Turns]:
        """Returns how many requests have a turn and wait for one now."""
        return [
            Turns(kind, limiter.borrowed_tokens, int(limiter.total_tokens), limiter.statistics().tasks_waiting)
            for kind, limiter in (("requests", self._requests), ("whole_log", self._readings))
        ]

    @asynccontextmanager
    async def session(self, *, whole_log: bool, read_only: bool) -> AsyncIterator[Session]:
        """Yields the transaction of a request, once it is its turn; committed when the block ends.

        whole_log  the request always reads a whole log
        read_only  see `transaction`

        Raises `Unavailable` after `WAIT_SECONDS`, and the errors of `transaction`.
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
            async with contextmanager_in_threadpool(transaction(purpose, read_only=read_only)) as session:
                if not whole_log:
                    session.info[READINGS] = self._readings
                yield session
        finally:
            limiter.release_on_behalf_of(turn)


class Lane:
    """Short work on the connections of one purpose, with as many threads; it reads, unless `read_only` is False."""

    def __init__(self, purpose: Purpose, seconds: float = WAIT_SECONDS, *, read_only: bool = True) -> None:
        self._purpose = purpose
        self._read_only = read_only
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(purpose.sessions, thread_name_prefix=purpose.name.lower())

    async def run(self, work: Callable[[Session], T]) -> T:
        """Returns the result of `work` after its commit. Raises `Unavailable` for slow work, and errors of `work`."""
        begun = asyncio.get_running_loop().run_in_executor(self._threads, self._do, work)
        try:
            return await asyncio.wait_for(begun, self._seconds)
        except TimeoutError as error:
            raise postgres_errors.away() from error

    def close(self) -> None:
        """Stops taking work, without waiting for work that is under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _do(self, work: Callable[[Session], T]) -> T:
        with transaction(self._purpose, read_only=self._read_only) as session:
            return work(session)


class Coalesced(Generic[Key, T]):
    """Calls `ask` once for all callers that wait for a key. No caller gets an answer that was begun before its call."""

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
            result = asyncio.ensure_future(self._ask(key))
            await asyncio.wait([result])
            for number, answer in enumerate(waiting, 1):
                _copy_result(result, answer)
                if number % ANSWERED_AT_ONCE == 0:
                    await asyncio.sleep(0)
        del self._asking[key]


def _copy_result(result: asyncio.Future[T], answer: asyncio.Future[T]) -> None:
    if answer.done():
        return
    error = result.exception()
    if error is None:
        answer.set_result(result.result())
    else:
        answer.set_exception(error)
