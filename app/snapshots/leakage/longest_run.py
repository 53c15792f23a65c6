"""Finds the longest run of words that two collections of texts share. Pure.

The method is naming: each window of n words of the first side has a number, equal for equal words. A window of m words,
n ≤ m ≤ 2n, is shared if the pair of numbers of its first n and its last n words is shared (Karp, Miller and Rosenberg,
STOC 1972). The shortest windows have `BASE` words and are named by 64-bit hashes; the result is compared word by word,
so it is exact. The second side is read in parts, so that memory is that of the first side.
Legend: W words of all texts of a side or part, one text after another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: Words of the shortest windows that are named; if none of these is shared, single words are named.
BASE = 4
#: Approximate number of words in a part of the second side.
PART = 200_000

_NONE = np.int32(-1)
_ODD = np.uint64(0x9E3779B97F4A7C15)  # any odd number
#: Bits of a hash in the bitmap that rules out most windows that the first side does not have.
_LOOK_BITS = 20
_LOOK = np.uint64(64 - _LOOK_BITS)


@dataclass(frozen=True)
class SharedRun:
    """The longest shared run. `words`: its length, 0 if no word is shared · `run`: its words, separated by spaces ·
    `texts`: the number of texts of the first side that share at least the requested number of words in a row.
    """

    words: int
    run: str
    texts: int


def longest_shared(first: Sequence[str], second: Sequence[str], *, at_least: int, seed: int = 0) -> SharedRun:
    """Returns the longest shared run, the first one in `second` if several are as long. Words are separated by single
    spaces.

    at_least  words in a row that a text of `first` has to share with a text of `second` to be counted in `texts`
    seed      seed of the hashes of words; it only changes the chance of a collision
    """
    side = _Words(first, seed)
    for base in (BASE, 1) if at_least >= BASE else (1,):
        names = _Names(side, base)
        longest, run = 0, ""
        overlapping = np.zeros(len(first), dtype=bool)
        for part in _parts(second):
            words = _Words(part, seed)
            windows = _Windows(names, words)
            overlapping[windows.texts_sharing(at_least)] = True
            if (length := windows.longest(longest)) > longest:
                start = int(windows.shared(length)[0])
                longest, run = length, words.run(start, length)
        if longest:
            if not any(f" {run} " in f" {text} " for text in first):  # a hash collision: one chance in millions
                return longest_shared(first, second, at_least=at_least, seed=seed + 1)
            return SharedRun(longest, run, int(overlapping.sum()))
    return SharedRun(0, "", 0)


class _Words:
    """The words of texts. `hashes`: (W,) · `text`: (W,) number of the text · `left`: (W,) words to the text's end."""

    def __init__(self, texts: Sequence[str], seed: int) -> None:
        split = pl.Series(list(texts), dtype=pl.String).str.split(" ")
        lengths = split.list.len().to_numpy().astype(np.int64)
        self.words = split.explode()
        self.hashes = self.words.hash(seed=seed).to_numpy()
        self.text = np.repeat(np.arange(lengths.size, dtype=np.int32), lengths)
        self.left = (np.repeat(lengths.cumsum(), lengths) - np.arange(lengths.sum())).astype(np.int32)

    def run(self, start: int, length: int) -> str:
        return " ".join(self.words[start : start + length].to_list())

    def windows(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Returns the starts of the windows of n words, and their hashes."""
        start = np.flatnonzero(self.left >= n)
        mixed = np.zeros(start.size, np.uint64)
        for offset in range(n):
            mixed = (mixed ^ self.hashes[start + offset]) * _ODD
            mixed ^= mixed >> np.uint64(32)
        return start, mixed


class _Names:
    """The names of the first side's windows of `base` words, of twice as many words, and so on."""

    def __init__(self, words: _Words, base: int) -> None:
        self.words, self.base = words, base
        start, hashes = words.windows(base)
        self.hashes, numbers = np.unique(hashes, return_inverse=True)
        self._name = [_spread(words.left.size, start, numbers)]
        self.halves: list[NDArray[np.int64]] = []  # for each longer level the sorted pairs of names that have a name
        self._pairs: dict[int, NDArray[np.int64]] = {}
        self.looked = np.zeros(1 << _LOOK_BITS, dtype=bool)
        self.looked[self.hashes >> _LOOK] = True

    def level(self, m: int) -> int:
        """Returns the level of the longest named windows that are not longer than m."""
        return (m // self.base).bit_length() - 1

    def pairs(self, m: int) -> NDArray[np.int64]:
        """Returns the sorted pairs of names of all windows of m words."""
        if m not in self._pairs:
            self._pairs[m] = _distinct(self.windows(m)[1])
        return self._pairs[m]

    def windows(self, m: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the starts of the windows of m words, and the pair of names of each."""
        level = self.level(m)
        while len(self._name) <= level:
            half = self.base << len(self.halves)
            start, pair = _pairs(self._name[-1], self.words.left, half, 2 * half)
            known, numbers = np.unique(pair, return_inverse=True)
            self.halves.append(known)
            self._name.append(_spread(self.words.left.size, start, numbers))
        return _pairs(self._name[level], self.words.left, self.base << level, m)


class _Windows:
    """The windows of a part of the second side, under the names of the first side."""

    def __init__(self, names: _Names, words: _Words) -> None:
        self._names, self._words = names, words
        start, hashes = words.windows(names.base)
        seen = names.looked[hashes >> _LOOK]
        self._name = [_named(words.left.size, start[seen], hashes[seen], names.hashes)]

    def shared(self, m: int) -> NDArray[np.int64]:
        """Returns the starts of the windows of m words that the first side also has."""
        start, pair = self._windows(m)
        return start[_among(pair, self._names.pairs(m))]

    def longest(self, known: int) -> int:
        """Returns the length of the longest shared window, or `known` if none is longer."""
        low, high = known, max(known + 1, self._names.base)
        while self.shared(high).size:
            low, high = high, 2 * high
        if low == known:
            return known
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.shared(middle).size else (low, middle)
        return low

    def texts_sharing(self, m: int) -> NDArray[np.int32]:
        """Returns the numbers of the first side's texts that share m words in a row."""
        distinct = _distinct(self._windows(m)[1])
        if not distinct.size:
            return np.empty(0, np.int32)
        start, pair = self._names.windows(m)
        return self._names.words.text[start[_among(pair, distinct)]]

    def _windows(self, m: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        names, left = self._names, self._words.left
        level = names.level(m)
        names.windows(m)
        while len(self._name) <= level:
            half = names.base << (len(self._name) - 1)
            start, pair = _pairs(self._name[-1], left, half, 2 * half)
            self._name.append(_named(left.size, start, pair, names.halves[len(self._name) - 1]))
        return _pairs(self._name[level], left, names.base << level, m)


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


def _pairs(
    name: NDArray[np.int32], left: NDArray[np.int32], n: int, m: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the starts of the windows of m words whose first and last n words have names, and both names as one."""
    start = np.flatnonzero((name != _NONE) & (left >= m))
    last = name[start + (m - n)]
    start, last = start[last != _NONE], last[last != _NONE]
    return start, name[start].astype(np.int64) << 32 | last


def _spread(size: int, start: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.int32]:
    name = np.full(size, _NONE)
    name[start] = number
    return name


def _named(
    size: int, start: NDArray[np.int64], wanted: NDArray[np.generic], known: NDArray[np.generic]
) -> NDArray[np.int32]:
    there = _among(wanted, known)
    return _spread(size, start[there], np.searchsorted(known, wanted[there]))


def _distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the distinct numbers, sorted; they must not be negative. `np.unique` hashes, and pairs in one number all
    collide there."""
    ordered = np.sort(numbers)
    return ordered[np.diff(ordered, prepend=-1) != 0]


def _among(wanted: NDArray[np.generic], known: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Returns a mask of the wanted values that are in `known`, which is sorted."""
    if not known.size:
        return np.zeros(wanted.size, dtype=bool)
    number = np.minimum(np.searchsorted(known, wanted), known.size - 1)
    return known[number] == wanted
