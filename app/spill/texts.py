"""Keeps texts on disk until their rows are ordered; memory holds only their offsets."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class SpilledTexts:
    """Texts one after another in a file. `near`: the folder for further files on the same disk."""

    def __init__(self, file: IO[bytes], near: Path | None = None) -> None:
        self.near = near
        self._file = file
        self._end = 0

    def keep(self, text: bytes) -> int:
        """Appends a text and returns its offset."""
        offset = self._end
        self._end += self._file.write(text)
        return offset

    def read(self, place: NDArray[np.int64], length: NDArray[np.int32]) -> list[bytes]:
        """Returns the texts with these offsets and lengths."""
        self._file.flush()
        number = self._file.fileno()
        return [os.pread(number, size, start) for start, size in zip(place.tolist(), length.tolist(), strict=True)]


@contextmanager
def texts(near: Path | None = None) -> Iterator[SpilledTexts]:
    """Yields texts in an unnamed file, on the disk of `near` if given, which disappears with the block or process."""
    folder = None if near is None else near.parent
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder, buffering=1 << 20) as file:
        yield SpilledTexts(file, folder)


def strings(texts_in_utf8: Sequence[bytes]) -> pa.Array:
    """Returns UTF-8 texts as an Arrow array without decoding them."""
    ends = np.zeros(len(texts_in_utf8) + 1, dtype=np.int32)
    np.cumsum([len(text) for text in texts_in_utf8], out=ends[1:])
    return pa.StringArray.from_buffers(len(texts_in_utf8), pa.py_buffer(ends), pa.py_buffer(b"".join(texts_in_utf8)))
