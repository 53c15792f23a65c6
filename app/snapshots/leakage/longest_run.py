"""The longest run of words that two collections of texts share. Pure.

By naming: each window of n words of the first side has a number, the same for the same words. A window of m words,
n ≤ m ≤ 2n, is shared where the pair of numbers of its first n and of its last n words is (Karp, Miller and Rosenberg,
STOC 1972). Names begin at windows of `BASE` words, by 64-bit hashes, and what is found is compared word by word: exact.
The second side goes by in parts, so that memory is that of the first.
Legend: W words of all texts of a side or part, one text after another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: Words of the shortest windows that are named; where no window of so many is shared, single words are.
BASE = 4
#: Words of a part of the second side, about.
PART = 200_000

_NONE = np.int32(-1)
_ODD = np.uint64(0x9E3779B97F4A7C15)  # any odd number
#: Of a hash, so many bits find most of what the first side has not, at a look.
_LOOK_BITS = 20
_LOOK = np.uint64(64 - _LOOK_BITS)


@dataclass(frozen=True)
class Shared:
    """words: how many, 0 where not one is shared · run: these words, with spaces between them · texts: how many of the
    first side share as many words in a row as were asked about.
    """

    words: int
    run: str
    texts: int


def longest_shared(first: Sequence[str], second: Sequence[str], *, at_least: int, seed: int = 0) -> Shared:
    """Of all longest runs one that comes first in `second`. Words are what stands between single spaces.

    at_least  words in a row that a text of `first` has to share with one of `second` to be counted in `texts`
    seed      of the hashes of words; it changes nothing but chance
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
                place = int(windows.shared(length)[0])
                longest, run = length, words.run(place, length)
        if longest:
            if not any(f" {run} " in f" {text} " for text in first):  # two hashes were equal: one chance in millions
                return longest_shared(first, second, at_least=at_least, seed=seed + 1)
            return Shared(longest, run, int(overlapping.sum()))
    return Shared(0, "", 0)


class _Words:
    """hashes: (W,) · text: (W,) the number of the text · left: (W,) words from here to the end of the text."""

    def __init__(self, texts: Sequence[str], seed: int) -> None:
        split = pl.Series(list(texts), dtype=pl.String).str.split(" ")
        lengths = split.list.len().to_numpy().astype(np.int64)
        self.words = split.explode()
        self.hashes = self.words.hash(seed=seed).to_numpy()
        self.text = np.repeat(np.arange(lengths.size, dtype=np.int32), lengths)
        self.left = (np.repeat(lengths.cumsum(), lengths) - np.arange(lengths.sum())).astype(np.int32)

    def run(self, place: int, length: int) -> str:
        return " ".join(self.words[place : place + length].to_list())

    def windows(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Where windows of n words begin, and the hash of each."""
        place = np.flatnonzero(self.left >= n)
        mixed = np.zeros(place.size, np.uint64)
        for offset in range(n):
            mixed = (mixed ^ self.hashes[place + offset]) * _ODD
            mixed ^= mixed >> np.uint64(32)
        return place, mixed


class _Names:
    """Of the windows of the first side, of `base` words, twice as many, and so on."""

    def __init__(self, words: _Words, base: int) -> None:
        self.words, self.base = words, base
        place, hashes = words.windows(base)
        self.hashes, numbers = np.unique(hashes, return_inverse=True)
        self._name = [_spread(words.left.size, place, numbers)]
        self.halves: list[NDArray[np.int64]] = []  # of each longer level, sorted: the pairs of names that are named
        self._pairs: dict[int, NDArray[np.int64]] = {}
        self.looked = np.zeros(1 << _LOOK_BITS, dtype=bool)
        self.looked[self.hashes >> _LOOK] = True

    def level(self, m: int) -> int:
        """Of the longest named windows that are not longer than m."""
        return (m // self.base).bit_length() - 1

    def pairs(self, m: int) -> NDArray[np.int64]:
        """The pairs of names, sorted, of all windows of m words."""
        if m not in self._pairs:
            self._pairs[m] = _distinct(self.windows(m)[1])
        return self._pairs[m]

    def windows(self, m: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where windows of m words begin, and the pair of names of each."""
        level = self.level(m)
        while len(self._name) <= level:
            half = self.base << len(self.halves)
            place, pair = _pairs(self._name[-1], self.words.left, half, 2 * half)
            known, numbers = np.unique(pair, return_inverse=True)
            self.halves.append(known)
            self._name.append(_spread(self.words.left.size, place, numbers))
        return _pairs(self._name[level], self.words.left, self.base << level, m)


class _Windows:
    """Of a part of the second side, under the names of the first."""

    def __init__(self, names: _Names, words: _Words) -> None:
        self._names, self._words = names, words
        place, hashes = words.windows(names.base)
        seen = names.looked[hashes >> _LOOK]
        self._name = [_named(words.left.size, place[seen], hashes[seen], names.hashes)]

    def shared(self, m: int) -> NDArray[np.int64]:
        """Where windows of m words begin that the first side has."""
        place, pair = self._windows(m)
        return place[_among(pair, self._names.pairs(m))]

    def longest(self, known: int) -> int:
        """The words of the longest shared window, or `known` where none is longer than that."""
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
        """The texts of the first side."""
        found = _distinct(self._windows(m)[1])
        if not found.size:
            return np.empty(0, np.int32)
        place, pair = self._names.windows(m)
        return self._names.words.text[place[_among(pair, found)]]

    def _windows(self, m: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        names, left = self._names, self._words.left
        level = names.level(m)
        names.windows(m)
        while len(self._name) <= level:
            half = names.base << (len(self._name) - 1)
            place, pair = _pairs(self._name[-1], left, half, 2 * half)
            self._name.append(_named(left.size, place, pair, names.halves[len(self._name) - 1]))
        return _pairs(self._name[level], left, names.base << level, m)


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """At 6 characters a word and its space, as English has."""
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
    """Where windows of m words begin whose first and last n words have names, and these two as one number."""
    place = np.flatnonzero((name != _NONE) & (left >= m))
    last = name[place + (m - n)]
    place, last = place[last != _NONE], last[last != _NONE]
    return place, name[place].astype(np.int64) << 32 | last


def _spread(size: int, place: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.int32]:
    name = np.full(size, _NONE)
    name[place] = number
    return name


def _named(
    size: int, place: NDArray[np.int64], wanted: NDArray[np.generic], known: NDArray[np.generic]
) -> NDArray[np.int32]:
    there = _among(wanted, known)
    return _spread(size, place[there], np.searchsorted(known, wanted[there]))


def _distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sorted; of numbers that are not negative. numpy's own hashes, and pairs in one number all collide there."""
    ordered = np.sort(numbers)
    return ordered[np.diff(ordered, prepend=-1) != 0]


def _among(wanted: NDArray[np.generic], known: NDArray[np.generic]) -> NDArray[np.bool_]:
    """known: sorted."""
    if not known.size:
        return np.zeros(wanted.size, dtype=bool)
    number = np.minimum(np.searchsorted(known, wanted), known.size - 1)
    return known[number] == wanted
