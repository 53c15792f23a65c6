"""Sketches texts in a few bytes that show whether two texts are nearly equal. Pure, and equal on any machine.

A text is the set of its shingles: 8 neighbouring bytes of its UTF-8, from every offset. Two texts are alike by their
sets' Jaccard similarity J. A sketch has `BINS` numbers, each the least hash of some shingles; two texts have the same
number in a bin with probability J (MinHash: Broder, SEQUENCES 1997). All bins are filled from one hash a shingle and
round, not from `BINS` of them (fast similarity sketching: Dahlgaard, Knudsen and Thorup, FOCS 2017, arXiv 1704.04370).

Two parts of the sketch are stored:
  bands   `BANDS` hashes of `ROWS` bins each; texts share one with probability 1 − (1 − J^ROWS)^BANDS
          (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, section 3.4)
  print   two bits of each bin: two texts agree in a bin with probability J + (1 − J)/4 (b-bit minwise hashing: Li and
          König, WWW 2010)
Legend: T texts, S shingles of all of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

SHINGLE = 8
BINS = 128
BANDS, ROWS = 10, 5
PRINT_BYTES = 2 * BINS // 8

#: Shorter texts, of less than about 8 words, have too few shingles to be nearly equal to another text.
SHORTEST = 48
#: In each round a shingle goes into one bin. Bins that are empty after this many rounds, in texts that repeat
#: themselves, are filled one by one.
ROUNDS = 32
#: Bytes of text that are sketched at a time: few enough to stay in the processor's cache.
CHUNK = 1 << 16

_EMPTY = np.uint32(2**32 - 1)
_PLACES = (BINS - 1).bit_length()


def _odd(purpose: str, count: int) -> NDArray[np.uint64]:
    """Returns `count` odd multipliers. They must never change: every stored sketch was made with them."""
    drawn = (blake2b(f"thumbwheel sketch 1 {purpose} {n}".encode(), digest_size=8).digest() for n in range(count))
    return np.array([int.from_bytes(digest, "little") | 1 for digest in drawn], np.uint64)


_OF_ROUND = _odd("round", ROUNDS)
_OF_BIN = _odd("bin", BINS)
_OF_BAND = _odd("band", BANDS * ROWS).reshape(BANDS, ROWS)
_SALT = _odd("salt", BANDS)
_MIX = _odd("mix", 2)


@dataclass(frozen=True)
class Sketches:
    """Sketches of T texts. `bands`: uint64 (T, BANDS) · `prints`: uint8 (T, PRINT_BYTES)."""

    bands: NDArray[np.uint64]
    prints: NDArray[np.uint8]


def sketches(texts: Iterable[bytes]) -> Sketches:
    """Returns the sketches of UTF-8 texts of at least `SHORTEST` bytes each."""
    mins = np.concatenate([_mins(chunk) for chunk in _chunks(texts)] or [np.empty((0, BINS), np.uint32)])
    return Sketches(_bands(mins), _prints(mins))


def exact_print(text: bytes) -> NDArray[np.uint8]:
    """Returns a print that agrees with the print of no other text."""
    return np.frombuffer(blake2b(text, digest_size=PRINT_BYTES).digest(), np.uint8)


def agreements(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Returns the (T,) numbers of bins in which the prints, both (T, PRINT_BYTES), agree."""
    planes = (one ^ other).reshape(-1, 2, PRINT_BYTES // 2).view(np.uint64)
    return BINS - np.bitwise_count(planes[:, 0] | planes[:, 1]).sum(axis=1, dtype=np.int64)


def planes(one: NDArray[np.uint8]) -> tuple[int, int]:
    """Returns a print's lower and higher bits, for `disagreements`."""
    held = one.tobytes()
    return int.from_bytes(held[: PRINT_BYTES // 2], "little"), int.from_bytes(held[PRINT_BYTES // 2 :], "little")


def disagreements(one: tuple[int, int], other: tuple[int, int]) -> int:
    """Returns the number of bins in which two prints differ. For one pair it is much faster than `agreements`."""
    return ((one[0] ^ other[0]) | (one[1] ^ other[1])).bit_count()


def _chunks(texts: Iterable[bytes]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    size = 0
    for text in texts:
        if size + len(text) > CHUNK and chunk:
            yield chunk
            chunk, size = [], 0
        chunk.append(text)
        size += len(text)
    if chunk:
        yield chunk


def _mins(texts: Sequence[bytes]) -> NDArray[np.uint32]:
    """Returns (T, BINS), the smallest hash of each bin in the first round in which the bin got one."""
    hashes, text = _shingles(texts)
    mins = np.full(len(texts) * BINS, _EMPTY)
    base = text << _PLACES
    for odd in _OF_ROUND:
        mixed = hashes * odd
        slot = (mixed >> np.uint64(64 - _PLACES)).view(np.int64)
        slot += base
        free = (mins == _EMPTY)[slot]
        if not free.all():
            mixed, slot = mixed[free], slot[free]
        np.minimum.at(mins, slot, (mixed >> np.uint64(25)).astype(np.uint32))
        unfinished = (mins.reshape(-1, BINS) == _EMPTY).any(axis=1)
        if not unfinished.any():
            break
        left = unfinished[base >> _PLACES]
        hashes, base = hashes[left], base[left]
    else:
        _fill_bin_by_bin(mins, hashes, base)
    return mins.reshape(-1, BINS)


def _shingles(texts: Sequence[bytes]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Returns the (S,) hashes of the shingles and the numbers of their texts."""
    joined = b"".join(texts)
    windows = np.ndarray(len(joined) - SHINGLE + 1, "<u8", joined, strides=(1,))
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    text = np.repeat(np.arange(len(texts)), lengths)[: windows.size]
    inside = np.ones(windows.size, dtype=bool)  # true for windows that do not cross the end of a text
    ends = lengths.cumsum()[:-1]
    inside[(ends[:, None] - np.arange(1, SHINGLE)).ravel()] = False
    return _mixed(windows[inside].astype(np.uint64, copy=False)), text[inside]


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mixes numbers in place: each bit of the result depends on each bit of the input. Returns the array."""
    high = np.empty_like(numbers)
    for odd in _MIX:
        numbers ^= np.right_shift(numbers, np.uint64(32), out=high)
        numbers *= odd
    numbers ^= np.right_shift(numbers, np.uint64(32), out=high)
    return numbers


def _fill_bin_by_bin(mins: NDArray[np.uint32], hashes: NDArray[np.uint64], base: NDArray[np.int64]) -> None:
    for start in np.unique(base).tolist():
        own = np.unique(hashes[base == start])
        empty = np.flatnonzero(mins[start : start + BINS] == _EMPTY)
        for bin_number in empty.tolist():
            mins[start + bin_number] = ((own * _OF_BIN[bin_number]) >> np.uint64(32)).min()


def _bands(mins: NDArray[np.uint32]) -> NDArray[np.uint64]:
    rows = mins[:, : BANDS * ROWS].reshape(-1, BANDS, ROWS)
    hashes = np.zeros((len(mins), BANDS), np.uint64) + _SALT
    for row in range(ROWS):
        hashes += rows[:, :, row] * _OF_BAND[:, row]
        hashes = _mixed(hashes)
    return hashes


def _prints(mins: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Returns the lowest bits of all bins, then the second lowest bits."""
    planes = [np.packbits((mins >> np.uint32(bit)).astype(np.uint8) & 1, axis=1) for bit in (0, 1)]
    return np.concatenate(planes, axis=1)
