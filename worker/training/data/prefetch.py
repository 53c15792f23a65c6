"""Prepares the next micro-batches in a background thread while the device computes the current one."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")
#: Number of items prepared in advance. More would hold memory and gain nothing, since preparation is short.
AHEAD = 2


def prepared_ahead(prepare: Callable[[In], Out], items: Iterable[In]) -> Generator[Out]:
    """Yields the result of `prepare` for each item, in order; an error is raised when its item's turn comes.

    A caller that stops early must close the iterator, which waits for the items in preparation.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="prepare") as pool:
        waiting: deque[Future[Out]] = deque()
        for item in items:
            waiting.append(pool.submit(prepare, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
