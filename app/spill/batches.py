"""Keeps Arrow batches on disk until they are needed. Pure except for its file."""

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import polars as pl
import pyarrow as pa

OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)


class Spill:
    """Batches by name and number, with one schema for each name, in an unnamed file that disappears with the block or
    with the process. `near`: a folder on the disk for the file."""

    def __init__(self, near: Path | None = None) -> None:
        # Unbuffered: batches are large.
        self._file = tempfile.TemporaryFile(dir=near, buffering=0)  # noqa: SIM115 - closed by `close`
        self._end = 0
        self._schemas: dict[str, pa.Schema] = {}
        self._places: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)

    def keep(self, name: str, number: int, batch: pa.RecordBatch) -> None:
        """Appends a batch to those of this name and number."""
        self._schemas.setdefault(name, batch.schema)
        if not len(batch):
            return
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema, options=OPTIONS) as stream:
            stream.write_batch(batch)
        raw = memoryview(sink.getvalue())
        self._places[name, number].append((self._end, len(raw)))
        self._end += len(raw)
        while raw:
            raw = raw[self._file.write(raw) :]

    def read(self, name: str, number: int) -> Iterator[pa.RecordBatch]:
        """Yields the batches in their order; can be called repeatedly."""
        for offset, size in self._places.get((name, number), ()):
            raw = pa.py_buffer(os.pread(self._file.fileno(), size, offset))
            yield pa.ipc.open_stream(raw).read_next_batch()

    def keep_frame(self, name: str, number: int, frame: pl.DataFrame) -> None:
        """Appends the rows of a frame, which may have no lists or categories."""
        table = frame.to_arrow()
        self._schemas.setdefault(name, table.schema)
        for batch in table.to_batches():
            self.keep(name, number, batch)

    def frame(self, name: str, number: int, *columns: str) -> pl.DataFrame:
        """Returns all rows of the stored frames, or only `columns`. At least one frame of this name, perhaps empty,
        must have been stored."""
        schema = self._schemas[name]
        names = columns or schema.names
        batches = [batch.select(names) for batch in self.read(name, number)]
        table = pa.Table.from_batches(batches, pa.schema([schema.field(column) for column in names]))
        return cast(pl.DataFrame, pl.from_arrow(table, rechunk=False))  # rechunking would double the memory

    def numbers(self, name: str) -> list[int]:
        """Returns the numbers of this name that have rows, in ascending order."""
        return sorted(number for stored, number in self._places if stored == name)

    def close(self) -> None:
        self._file.close()
