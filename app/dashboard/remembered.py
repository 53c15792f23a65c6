"""Figures that read a whole log, for a page that is looked at every few seconds."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from sqlalchemy.orm import Session

Figure = TypeVar("Figure")

#: A figure is shown for so many times as long as it took to work out: looking on costs a tenth of a core at most.
REST = 10


class Remembered(Generic[Figure]):
    """`ask`, answered from memory for a while that grows with what the answer cost. One thread works at a time."""

    def __init__(self, ask: Callable[[Session, str], Figure]) -> None:
        self._ask = ask
        self._kept: dict[str, tuple[float, Figure]] = {}  # until when
        self._lock = threading.Lock()

    def __call__(self, session: Session, project: str) -> Figure:
        with self._lock:
            until, figure = self._kept.get(project, (0.0, None))
            if figure is None or time.monotonic() >= until:
                began = time.monotonic()
                figure = self._ask(session, project)
                done = time.monotonic()
                self._kept[project] = (done + REST * (done - began), figure)
            return figure
