"""Forks and ends of the processes that a queue lives in."""

import os
import sys
import weakref
from collections.abc import Callable
from typing import Protocol


class BeginsAgain(Protocol):
    def begin(self) -> None: ...


_alive: weakref.WeakSet[BeginsAgain] = weakref.WeakSet()


def begin_again_when_forked(queue: BeginsAgain) -> None:
    """Makes `queue` begin again in a forked process: it has no threads there, and its items are its parent's."""
    _alive.add(queue)


def close_at_end_of_child(close: Callable[[], object]) -> None:
    """Calls `close` at the end of this process if it is one of `multiprocessing`, which may run nothing of `atexit`."""
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        from multiprocessing import util

        util.Finalize(None, close, exitpriority=100)


def _begin_again() -> None:
    for queue in list(_alive):
        queue.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
