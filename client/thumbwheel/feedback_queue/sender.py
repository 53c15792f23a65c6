"""`QueueSender`: the threads that send what a buffer holds, in one process.

    put ─▶ buffer ─▶ a thread of the events: batches in their order ─▶ API
                 └─▶ a thread of the completions: the same ─▶ API

A thread looks every `interval` for what has come; after ten seconds without anything it sleeps. So a put of a busy
product wakes nobody, and requests and threads seldom compete for the interpreter. The threads are daemons: those that
are not closed in time do not keep the process alive.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from math import inf
from queue import Empty, SimpleQueue

from thumbwheel.connection_settings import ConnectionSettings
from thumbwheel.feedback_queue.buffer import KINDS, Buffer, Item, Kind
from thumbwheel.feedback_queue.delivery import Delivery, Postponed, Result, undelivered

log = logging.getLogger("thumbwheel")

#: Items, and bytes of their bodies, that are sent together: far below the limits of the API.
MOST_ITEMS = 500
MOST_BYTES = 2 * 2**20
#: Waiting items that are sent before the interval is over.
FULL: dict[Kind, int] = {"event": 500, "completion": 100}
#: Intervals without an item after which a thread sleeps until the next one.
IDLE_INTERVALS = 20


class _Ended(Exception):
    """The time in which items may be sent is over."""


class QueueSender:
    """Starts its threads when they are needed.

    settled  is called with items that are stored, or that will not be sent again, and their results
    failed   is called before each pause after a failed attempt
    """

    def __init__(
        self,
        buffer: Buffer,
        settings: ConnectionSettings,
        settled: Callable[[Sequence[tuple[Item, Result]]], None],
        failed: Callable[[], None],
        *,
        interval: float,
        timeout: float,
    ) -> None:
        self._buffer = buffer
        self._settled, self._failed = settled, failed
        self._interval = interval
        self.delivery = Delivery(settings, timeout, self._pause)
        self._wakes: dict[Kind, SimpleQueue[None]] = {kind: SimpleQueue() for kind in KINDS}
        self._asleep: dict[Kind, bool] = dict.fromkeys(KINDS, False)
        self._threads: dict[Kind, threading.Thread] = {}
        self._starting: dict[Kind, threading.Lock] = {kind: threading.Lock() for kind in KINDS}
        self._leaving = threading.RLock()  # a signal handler may start the thread of the other kind
        self._users = 1
        self._postponed: list[tuple[float, Item]] = []  # with the time at which each is due; only events
        self._progress = threading.Condition()
        self._hurried = 0  # items up to this number do not wait for others
        self._closing = threading.Event()
        self._ends_at = inf

    def notice(self, kind: Kind, waiting: int) -> None:
        """Wakes or starts a thread if a put needs one, after which `waiting` items wait. It never waits itself."""
        if self._asleep[kind] or waiting == FULL[kind]:
            self._wakes[kind].put(None)
        if kind not in self._threads:
            self._start(kind)

    def flush(self, seconds: float) -> bool:
        """Returns whether all that was put before is sent, or refused, within `seconds`."""
        last = self._buffer.last
        self._hurried = max(self._hurried, last)
        for kind in KINDS:
            self._wakes[kind].put(None)
        with self._progress:
            return self._progress.wait_for(lambda: (self._buffer.oldest() or inf) > last, seconds)

    def close(self, seconds: float) -> list[Item]:
        """Sends what is there for up to `seconds`, ends the threads, and returns what is left."""
        self._ends_at = time.monotonic() + seconds
        self._closing.set()
        for kind in KINDS:
            self._wakes[kind].put(None)
        for kind in KINDS:
            with self._starting[kind]:
                thread = self._threads.get(kind)
            if thread is None or thread is threading.current_thread():
                # None was needed yet, none can be started any more, or `on_error` closes the queue.
                self._send_until_empty(kind)
            else:
                thread.join(max(0.0, self._ends_at - time.monotonic()))
        self._leave()
        return self._buffer.clear()

    def _start(self, kind: Kind) -> None:
        if not self._starting[kind].acquire(blocking=False):
            return  # another thread starts one
        try:
            if kind not in self._threads and not self._closing.is_set():
                thread = threading.Thread(target=self._work, args=(kind,), name=f"thumbwheel {kind}s", daemon=True)
                with self._leaving:
                    self._users += 1
                thread.start()
                self._threads[kind] = thread
        except RuntimeError:  # the interpreter is shutting down: `close` sends what waits
            self._leave()
        finally:
            self._starting[kind].release()

    def _work(self, kind: Kind) -> None:
        while self._wait(kind):
            self._send_some(kind)
        self._send_until_empty(kind)
        self._leave()

    def _leave(self) -> None:
        """Closes the connections if nobody uses them any more: neither the threads, nor the product until it closes."""
        with self._leaving:
            self._users -= 1
            if not self._users:
                self.delivery.close()

    def _wait(self, kind: Kind) -> bool:
        """Waits until items should be sent; returns False once the queue is closing."""
        idle = 0
        while not self._closing.is_set():
            if kind == "event":
                self._put_back_what_is_due()
            if idle >= IDLE_INTERVALS and not (kind == "event" and self._postponed):
                self._sleep(kind)
                idle = 0
            until = time.monotonic() + self._interval
            while self._buffer.waiting(kind) < FULL[kind] and not self._closing.is_set():
                if (self._buffer.oldest_waiting(kind) or inf) <= self._hurried:
                    return True
                try:
                    self._wakes[kind].get(timeout=max(0.0, until - time.monotonic()))
                except Empty:
                    break
            if self._buffer.waiting(kind):
                return not self._closing.is_set()
            idle += 1
        return False

    def _sleep(self, kind: Kind) -> None:
        """Waits without an end for the next item, or for the end."""
        self._asleep[kind] = True
        if not self._buffer.waiting(kind) and not self._closing.is_set():
            self._wakes[kind].get()
        self._asleep[kind] = False

    def _send_until_empty(self, kind: Kind) -> None:
        while time.monotonic() < self._ends_at and self._send_some(kind):
            pass

    def _send_some(self, kind: Kind) -> bool:
        """Sends the oldest items; returns False if there were none, or if the time is over."""
        items = self._buffer.take(kind, MOST_ITEMS, MOST_BYTES)
        settled = 0
        try:
            for results in self.delivery.send(items):
                self._settle(results)
                settled += len(results)
        except _Ended:
            return False
        except Exception as error:
            log.exception("%d %ss were not sent", len(items) - settled, kind)
            reason = f"{type(error).__name__}: {error}"
            self._settle([(item, undelivered(item, "failed", reason)) for item in items[settled:]])
        return bool(items)

    def _put_back_what_is_due(self) -> None:
        now = time.monotonic()
        due = [item for at, item in self._postponed if at <= now]
        if due:
            self._postponed = [(at, item) for at, item in self._postponed if at > now]
            self._buffer.put_back("event", due)

    def _settle(self, results: Sequence[tuple[Item, Result]]) -> None:
        now = time.monotonic()
        postponed = [(now + result.seconds, item) for item, result in results if isinstance(result, Postponed)]
        if postponed:
            self._postponed += postponed
            results = [(item, result) for item, result in results if not isinstance(result, Postponed)]
        self._settled(results)
        self._buffer.done([item for item, _ in results])
        with self._progress:
            self._progress.notify_all()

    def _pause(self, seconds: float) -> None:
        """Waits between two attempts; closing cuts it short for another attempt. Raises `_Ended`."""
        self._failed()
        if not self._closing.is_set():
            self._closing.wait(seconds)
            return
        left = self._ends_at - time.monotonic()
        if seconds > left:
            raise _Ended
        time.sleep(seconds)
