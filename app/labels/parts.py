"""A log in parts: of each completion all that was said is in one of them. Pure."""

from collections.abc import Iterator
from typing import Protocol

import polars as pl

from app.labels.sets import Log


class Logs(Protocol):
    """The parts of a log, one at a time in memory: let go of one before asking for the next.

    actors  of all parts; each part's events have their numbers in it, and its `actors` are these
    """

    @property
    def actors(self) -> pl.Series: ...

    def __len__(self) -> int: ...

    def part(self, number: int) -> Log: ...

    def __iter__(self) -> Iterator[Log]: ...


class Whole:
    """A log in one part."""

    def __init__(self, log: Log) -> None:
        self.actors = log.actors
        self._log = log

    def __len__(self) -> int:
        return 1

    def part(self, number: int) -> Log:
        return (self._log,)[number]

    def __iter__(self) -> Iterator[Log]:
        yield self._log
