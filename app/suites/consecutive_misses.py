"""Stops requests to a server that does not answer."""

import threading
from collections.abc import Callable
from typing import TypeVar

from app.suites.endpoint import Missing, NotRequested

#: After this number of requests in a row without an answer, no further one is sent.
MOST_MISSES_IN_A_ROW = 10

Answer = TypeVar("Answer")


class ConsecutiveMisses:
    """Counts the requests in a row, over all threads, that got no answer."""

    def __init__(self) -> None:
        self._misses = 0
        self._lock = threading.Lock()

    def attempt(self, request: Callable[[], Answer]) -> Answer:
        """Returns the answer to a request. Raises `Missing`, and `NotRequested` after too many misses in a row."""
        with self._lock:
            if self._misses >= MOST_MISSES_IN_A_ROW:
                raise NotRequested(f"it was not requested, as {MOST_MISSES_IN_A_ROW} requests in a row got no answer")
        try:
            answer = request()
        except NotRequested:
            raise
        except Missing:
            with self._lock:
                self._misses += 1
            raise
        with self._lock:
            self._misses = 0
        return answer
