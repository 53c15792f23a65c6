"""Many votes gone through in parts, so that little memory is needed beside them. Pure."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: Votes, pairs, and votes of pairs, that are looked at together: about 100 bytes each.
AT_ONCE = 250_000
#: Of very many votes at least one in so many is looked at together: each time all have to be gone through.
TIMES = 16


def parts(sizes: NDArray[np.integer[Any]], most: int | None = None) -> Iterator[tuple[int, int]]:
    """Begin and end of parts whose sizes add up to about `most`, or `AT_ONCE`; each has some size."""
    part = np.cumsum(sizes, dtype=np.int64) - 1  # what has no size before all others is in none
    part //= AT_ONCE if most is None else most
    begins = np.flatnonzero(np.diff(part, prepend=-1)).tolist()
    yield from pairwise([*begins, len(sizes)])


def blocks(length: int) -> Iterator[slice]:
    """All of so many rows, `AT_ONCE` in each."""
    return (slice(begin, begin + AT_ONCE) for begin in range(0, length, AT_ONCE))


def of_votes(votes: int) -> int:
    """How many of so many are looked at together."""
    return max(AT_ONCE, votes // TIMES)


def by_actors(votes: pl.DataFrame, count: NDArray[np.integer[Any]], *order: str) -> Iterator[pl.DataFrame]:
    """All votes by actor, and of each in this order of columns; in parts that have no actor in common.

    count  votes of each actor
    """
    for begin, end in parts(count, of_votes(len(votes))):
        yield votes.filter(pl.col("actor").is_between(begin, end - 1)).sort("actor", *order)


def counted(numbers: pl.Series, among: pl.Series | None = None) -> NDArray[np.uint32]:
    """How often each number occurs, from 0 to the highest; `among` the flagged ones."""
    highest = numbers.max()
    times = np.zeros(highest + 1 if isinstance(highest, int) else 0, np.uint32)
    for block in blocks(len(numbers)):
        part = numbers[block].to_numpy()
        np.add.at(times, part if among is None else part[among[block].to_numpy()], np.uint32(1))
    return times


def counted_up(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 … n-1 for each n of `counts`."""
    ends = np.cumsum(counts)
    return np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)
