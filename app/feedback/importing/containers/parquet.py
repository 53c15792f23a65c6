"""Reads parquet in small batches of rows."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, BinaryIO

from app.errors import Invalid
from app.feedback.importing.containers.records import SourceRecord

UNIT = "row"
ROWS = 256


class ParquetRows:
    """The rows of a file as objects of JSON values. Raises `Invalid` without pyarrow, and for a damaged file."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._read = 0
        self._rows = 1

    def fraction(self) -> float:
        """Returns the share of the rows that were read: the place in the file tells nothing, as its end comes first."""
        return self._read / self._rows

    def __iter__(self) -> Iterator[SourceRecord]:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise Invalid(
                f"{self._name} is a parquet file, and pyarrow is not installed: pip install "
                "'thumbwheel-server[server]', or write the file as JSON lines.",
                code="parquet_unreadable",
            ) from None
        try:
            table = pq.ParquetFile(self._file)
            self._rows = max(1, table.metadata.num_rows)
            for batch in table.iter_batches(batch_size=ROWS):
                for row in batch.to_pylist():
                    self._read += 1
                    yield SourceRecord(self._read, _plain(row))
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise Invalid(f"Cannot read {self._name} as parquet: {error}.", code="file_unreadable") from error


def _plain(value: Any) -> Any:
    """Returns a value as JSON has it; fields without a value are left out."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value
