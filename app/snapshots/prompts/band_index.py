"""An index from the bands of sketches to the first leader with each band. Pure."""

import numpy as np
from numpy.typing import NDArray

from app.snapshots.prompts.sketch import BANDS

#: An index entry has a band's hash and, in its lower bits, the number of a leader: the smallest is the earliest.
NUMBER_BITS = 28
NUMBER = np.uint64(2**NUMBER_BITS - 1)
NOBODY = np.int64(NUMBER)


class BandIndex:
    """An index from bands to leaders: sorted entries in a few runs, each several times as long as the next."""

    RATIO = 4

    def __init__(self) -> None:
        self._runs: list[list[NDArray[np.uint64]]] = []  # oldest first; each has the entries of every band

    def earliest(self, bands: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Returns the number of the first leader with each band, or `NOBODY`: (T, BANDS)."""
        numbers = np.full(bands.shape, NOBODY)
        for band in range(BANDS):
            order = np.argsort(bands[:, band])
            wanted = bands[order, band]
            for run in reversed(self._runs):
                index = np.searchsorted(run[band], wanted)
                entry = run[band][np.minimum(index, run[band].size - 1)]
                there = (entry & ~NUMBER == wanted) & (index < run[band].size)
                numbers[order[there], band] = (entry[there] & NUMBER).astype(np.int64)
        return numbers

    def append(self, bands: NDArray[np.uint64], start: int) -> None:
        """Adds leaders, numbered from `start` on."""
        if not len(bands):
            return
        numbers = np.arange(start, start + len(bands), dtype=np.uint64)
        self._runs.append([np.sort(bands[:, band] | numbers) for band in range(BANDS)])
        while len(self._runs) > 1 and self._runs[-2][0].size < self.RATIO * self._runs[-1][0].size:
            new, old = self._runs.pop(), self._runs[-1]
            for band in range(BANDS):
                old[band] = np.concatenate([old[band], new[band]])
                old[band].sort(kind="stable")  # which merges what is sorted already
                new[band] = old[band][:0]

    def since(self, start: int) -> NDArray[np.uint64]:
        """Returns the bands of the leaders from number `start` on: (T, BANDS)."""
        columns = []
        for band in range(BANDS):
            entries = np.concatenate([run[band] for run in self._runs] or [np.empty(0, np.uint64)])
            entries = entries[(entries & NUMBER) >= start]
            columns.append(entries[np.argsort(entries & NUMBER)] & ~NUMBER)
        return np.stack(columns, axis=1)


class Column:
    """Rows of `width` bytes in an array that grows in place by an eighth at a time."""

    def __init__(self, width: int) -> None:
        self._held = np.empty((0, width), np.uint8)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def rows(self) -> NDArray[np.uint8]:
        return self._held[: self._length]

    def append(self, rows: NDArray[np.uint8]) -> None:
        end = self._length + len(rows)
        if end > len(self._held):
            self._held.resize((end + end // 8, self._held.shape[1]), refcheck=False)
        self._held[self._length : end] = rows
        self._length = end
