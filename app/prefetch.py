"""Prefetches the next item in a background thread."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T]) -> Iterator[T]:
    """Yields the items; a thread fetches each one while the caller works on the one before."""
    coming = iter(items)
    with ThreadPoolExecutor(1, "ahead") as thread:
        following = thread.submit(next, coming, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, coming, None)
            yield item
