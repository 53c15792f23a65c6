"""Texts on disk while their rows wait for their order: memory holds only where they lie."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Texts:
    """Bytes one after another in a file. `near`: the folder that others beside it belong into."""

    def __init__(self, file: IO[bytes], near: Path | None = None) -> None:
        self.near = near
        self._file = file
        self._end = 0

    def keep(self, text: bytes) -> int:
        """Append; where it lies."""
        place = self._end
        self._end += self._file.write(text)
        return place

    def read(self, place: NDArray[np.int64], length: NDArray[np.int32]) -> list[bytes]:
        """What lies at each place."""
        self._file.flush()
        number = self._file.fileno()
        return [os.pread(number, size, start) for start, size in zip(place.tolist(), length.tolist(), strict=True)]


@contextmanager
def texts(near: Path | None = None) -> Iterator[Texts]:
    """A file without a name, on the disk of `near` if that is said: it vanishes with the block, or with the process."""
    folder = None if near is None else near.parent
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder, buffering=1 << 20) as file:
        yield Texts(file, folder)


def strings(said: Sequence[bytes]) -> pa.Array:
    """UTF-8 as Arrow has it, without a detour."""
    ends = np.zeros(len(said) + 1, dtype=np.int32)
    np.cumsum([len(one) for one in said], out=ends[1:])
    return pa.StringArray.from_buffers(len(said), pa.py_buffer(ends), pa.py_buffer(b"".join(said)))
