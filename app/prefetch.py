"""The next one made while one is worked on."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The same, each one fetched by a thread while the one before is worked on."""
    coming = iter(items)
    with ThreadPoolExecutor(1, "ahead") as thread:
        following = thread.submit(next, coming, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, coming, None)
            yield item
