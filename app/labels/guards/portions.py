"""Processes many votes in parts, so that little memory is needed in addition to them. Pure."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: Votes, pairs, or votes of pairs that are processed together: about 100 bytes each.
AT_ONCE = 250_000
#: The most parts of very many votes, as each part needs a pass over all of them.
TIMES = 16


def parts(sizes: NDArray[np.integer[Any]], most: int | None = None) -> Iterator[tuple[int, int]]:
    """Yields begin and end of parts whose sizes add up to about `most`, or `AT_ONCE`; no part has size 0."""
    part = np.cumsum(sizes, dtype=np.int64) - 1  # leading elements of size 0 are in no part
    part //= AT_ONCE if most is None else most
    begins = np.flatnonzero(np.diff(part, prepend=-1)).tolist()
    yield from pairwise([*begins, len(sizes)])


def blocks(length: int) -> Iterator[slice]:
    """Returns slices of `AT_ONCE` rows that cover `length` rows."""
    return (slice(begin, begin + AT_ONCE) for begin in range(0, length, AT_ONCE))


def of_votes(votes: int) -> int:
    """Returns the number of votes that are processed together, of `votes` in all."""
    return max(AT_ONCE, votes // TIMES)


def by_actors(votes: pl.DataFrame, count: NDArray[np.integer[Any]], *order: str) -> Iterator[pl.DataFrame]:
    """Yields all votes by actor, sorted by the columns `order` for each actor, in parts that share no actor.

    count  votes of each actor
    """
    for begin, end in parts(count, of_votes(len(votes))):
        yield votes.filter(pl.col("actor").is_between(begin, end - 1)).sort("actor", *order)


def counted(numbers: pl.Series, among: pl.Series | None = None) -> NDArray[np.uint32]:
    """Returns how often each number occurs, from 0 to the highest; with `among`, only flagged numbers are counted."""
    highest = numbers.max()
    times = np.zeros(highest + 1 if isinstance(highest, int) else 0, np.uint32)
    for block in blocks(len(numbers)):
        part = numbers[block].to_numpy()
        np.add.at(times, part if among is None else part[among[block].to_numpy()], np.uint32(1))
    return times


def counted_up(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns 0 … n-1 for each n of `counts`, one after the other."""
    ends = np.cumsum(counts)
    return np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)
