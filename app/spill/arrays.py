"""Keeps columns of many rows on disk; a column is in memory only while a step reads it."""

import os
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

#: Bytes that a plain array of strings can hold.
MOST = np.iinfo(np.int32).max


class SpilledColumns:
    """Named arrays, each in an unnamed file that disappears with this object or with the process."""

    def __init__(self, near: Path | None = None) -> None:
        """Sets the folder, on the disk for the files; without `near` it is the folder for temporary files."""
        self._near = near
        self._columns: dict[str, _Column] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def put(self, name: str, values: NDArray[Any]) -> None:
        """Stores a column, replacing an earlier one of this name."""
        self._columns[name] = _Column(self._near, values)

    def append(self, name: str, values: NDArray[Any]) -> None:
        """Appends values to a column of the same dtype, or stores a new column."""
        if name in self._columns:
            self._columns[name].append(values)
        else:
            self.put(name, values)

    def read(self, name: str, rows: slice = slice(None)) -> NDArray[Any]:
        return self._columns[name].read(rows)

    def drop(self, *names: str) -> None:
        for name in names:
            del self._columns[name]

    def append_strings(self, name: str, values: pa.Array) -> None:
        """Appends strings, none of which may be null, to a column of strings."""
        plain = values.cast(pa.string())
        _, ends, content = plain.buffers()
        offsets = np.frombuffer(ends, np.int32)[plain.offset : plain.offset + len(plain) + 1]
        self.append(f"{name} lengths", np.diff(offsets))
        text = np.frombuffer(content or b"", np.uint8)
        self.append(f"{name} bytes", text[offsets[0] : offsets[-1]])

    def strings(self, name: str) -> pa.Array:
        lengths, content = self.read(f"{name} lengths"), self.read(f"{name} bytes")
        kind, whole = (pa.StringArray, np.int32) if len(content) < MOST else (pa.LargeStringArray, np.int64)
        offsets = np.zeros(len(lengths) + 1, whole)
        np.cumsum(lengths, out=offsets[1:])
        return kind.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(content))


class _Column:
    def __init__(self, near: Path | None, values: NDArray[Any]) -> None:
        with tempfile.TemporaryFile(dir=near, buffering=0) as file:
            self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)
        self._dtype, self._tail, self._rows = values.dtype, values.shape[1:], 0
        self.append(values)

    @property
    def _row_bytes(self) -> int:
        return int(self._dtype.itemsize * np.prod(self._tail, dtype=np.int64))

    def append(self, values: NDArray[Any]) -> None:
        if (values.dtype, values.shape[1:]) != (self._dtype, self._tail):
            raise TypeError(f"cannot append {values.dtype} {values.shape[1:]} to {self._dtype} {self._tail}")
        rest = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
        offset = self._rows * self._row_bytes
        while rest:
            written = os.pwrite(self._file, rest, offset)
            rest, offset = rest[written:], offset + written
        self._rows += len(values)

    def read(self, rows: slice) -> NDArray[Any]:
        start, stop, _ = rows.indices(self._rows)
        values = np.empty((max(stop - start, 0), *self._tail), self._dtype)
        rest, offset = values.reshape(-1).view(np.uint8).data, start * self._row_bytes
        while rest:
            read = os.preadv(self._file, [rest], offset)
            if read == 0:
                raise OSError(f"a column on disk ends after {offset} bytes")
            rest, offset = rest[read:], offset + read
        return values
