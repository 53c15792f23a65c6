"""Prepares the next items in a background thread while the caller works on the current one."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import repeat
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")
_END = object()


def prepared_ahead(prepare: Callable[[In], Out], items: Iterable[In], *, depth: int) -> Generator[Out]:
    """Yields the result of `prepare` for each item, in order; an error is raised when its item's turn comes.

    A caller that stops early must close the iterator, which waits for the items in preparation.

    depth  number of items that are prepared in advance: memory holds as many, and one more
    """
    with ThreadPoolExecutor(1, thread_name_prefix="prepare") as thread:
        waiting: deque[Future[Out]] = deque()
        for item in items:
            waiting.append(thread.submit(prepare, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def ahead(items: Iterable[Out]) -> Generator[Out]:
    """Yields the items; a thread fetches each one while the caller works on the one before."""
    coming = iter(items)
    with closing(prepared_ahead(lambda _: next(coming, _END), repeat(None), depth=1)) as fetched:
        for item in fetched:
            if item is _END:
                return
            yield item  # type: ignore[misc]
