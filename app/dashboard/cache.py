"""Caches figures that are expensive to compute, for a page that is loaded every few seconds."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from sqlalchemy.orm import Session

Figure = TypeVar("Figure")

#: A figure is shown for this many times the duration of its computation, and for this many seconds at least: the page
#: costs a tenth of a core at most, and a crowd of readers shares one computation.
REST, LEAST_SECONDS = 10, 1.0


class Remembered(Generic[Figure]):
    """A function of a project whose results are cached for a time that grows with their cost.

    No request waits for another one: while a figure is computed again, other requests get the earlier figure.
    """

    def __init__(self, compute: Callable[[Session, str], Figure]) -> None:
        self._compute = compute
        self._figures: dict[str, tuple[float, Figure]] = {}  # each after the time until which it is shown
        self._locks: dict[str, threading.Lock] = {}

    def __call__(self, session: Session, project: str) -> Figure:
        until, figure = self._figures.get(project, (0.0, None))
        if figure is None:
            return self._refreshed(session, project)
        lock = self._locks.setdefault(project, threading.Lock())
        if time.monotonic() < until or not lock.acquire(blocking=False):
            return figure
        try:
            return self._refreshed(session, project)
        finally:
            lock.release()

    def _refreshed(self, session: Session, project: str) -> Figure:
        began = time.monotonic()
        figure = self._compute(session, project)
        end = time.monotonic()
        self._figures[project] = (end + max(REST * (end - began), LEAST_SECONDS), figure)
        return figure
