"""Finds the longest run of words that two collections of texts share. Pure.

Runs of n words (n-grams) are compared by 64-bit hashes. The hash of a run is mixed from those of two runs that cover
it, whose length is a power of two (Karp, Miller and Rosenberg, STOC 1972), so runs of any length cost the same. With
300,000 words on one side and two million on the other, the chance that different runs look equal is below one in a
million. The second side is read in parts, so that memory is that of the first side.
Legend: W words of all texts of a side or part, one text after another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: Approximate number of words in a part of the second side.
PART = 200_000

_ODD = np.uint64(0x9E3779B97F4A7C15)  # any odd number


@dataclass(frozen=True)
class SharedRun:
    """The longest shared run. `words`: its length, 0 if no word is shared · `texts`: the number of texts of the first
    side that share at least the requested number of words in a row.
    """

    words: int
    texts: int


def longest_shared(first: Sequence[str], second: Sequence[str], *, at_least: int) -> SharedRun:
    """Returns the length of the longest shared run. Words are separated by single spaces.

    at_least  words in a row that a text of `first` has to share with a text of `second` to be counted in `texts`
    """
    side = _Words(first)
    longest = 0
    overlapping = np.zeros(len(first), dtype=bool)
    for part in _parts(second):
        words = _Words(part)
        overlapping[side.shared(words, at_least)["text"].to_numpy()] = True
        longest = _longest(side, words, longest)
    return SharedRun(longest, int(overlapping.sum()))


def _longest(side: "_Words", other: "_Words", known: int) -> int:
    """Returns the length of the longest shared run, or `known` if none is longer."""
    low, high = known, known + 1
    while not side.shared(other, high).is_empty():
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if side.shared(other, middle).is_empty() else (middle, high)
    return low


class _Words:
    """The words of texts. `_text`: (W,) number of the text · `_hashes`: of the runs of 1, 2, 4, … words that start at
    each word, also of those that cross the end of a text.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        split = pl.Series(list(texts), dtype=pl.String).str.split(" ")
        self._text = np.repeat(np.arange(len(texts), dtype=np.int32), split.list.len().to_numpy())
        self._hashes: list[NDArray[np.uint64]] = [split.explode().hash().to_numpy()]

    def shared(self, other: "_Words", n: int) -> pl.DataFrame:
        """Returns the runs of n words that `other` has, too."""
        return self._runs(n).join(other._runs(n), on="run", how="semi")

    def _runs(self, n: int) -> pl.DataFrame:
        """Returns `text` and hash (`run`) of each run of n words within a text."""
        level = n.bit_length() - 1
        while len(self._hashes) <= level:
            longest = self._hashes[-1]
            self._hashes.append(_mixed(longest, longest[1 << (len(self._hashes) - 1) :]))
        ends = self._text[n - 1 :]
        starts = self._text[: ends.size]
        within = starts == ends
        run = _mixed(self._hashes[level], self._hashes[level][n - (1 << level) :])
        return pl.DataFrame({"text": starts[within], "run": run[within]})


def _mixed(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns the hashes of pairs, as many as the shorter array has; their order matters."""
    size = min(one.size, other.size)
    mixed = one[:size] * _ODD
    mixed ^= other[:size]
    mixed ^= mixed >> np.uint64(32)
    mixed *= _ODD
    return mixed


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yields parts of about `PART` words, at 6 characters for a word with its space, as in English."""
    start, size = 0, 0
    for number, text in enumerate(texts):
        size += len(text)
        if size >= 6 * PART:
            yield texts[start : number + 1]
            start, size = number + 1, 0
    if start < len(texts):
        yield texts[start:]
