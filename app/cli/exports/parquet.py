"""Parquet files of an export, made of its JSON lines and read back as such. JSON values stay texts."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

#: Rows of a row group, which are in memory at a time.
GROUP = 10_000
_TIME = pa.timestamp("us", "UTC")
#: The type of columns that hold JSON text.
_JSON = pa.large_string()

SCHEMAS: dict[str, pa.Schema] = {
    "events": pa.schema(
        [
            ("event_id", pa.string()), ("position", pa.int64()), ("received_at", _TIME), ("occurred_at", _TIME),
            ("completion_id", pa.string()), ("actor", pa.string()), ("signal", _JSON), ("prompt", _JSON),
            ("completion", _JSON), ("checkpoint_id", pa.string()), ("supersedes", pa.string()),
            ("conversation_id", pa.string()), ("metadata", _JSON), ("never_train", pa.bool_()),
            ("origin", pa.string()),
        ]
    ),
    "completions": pa.schema(
        [
            ("completion_id", pa.string()), ("position", pa.int64()), ("received_at", _TIME), ("prompt", _JSON),
            ("completion", _JSON), ("checkpoint_id", pa.string()), ("conversation_id", pa.string()),
            ("sampling", _JSON), ("token_ids", pa.list_(pa.int32())), ("log_probs", pa.list_(pa.float64())),
            ("metadata", _JSON),
        ]
    ),
    "labels": pa.schema(
        [
            ("completion_id", pa.string()), ("checkpoint_id", pa.string()), ("label", pa.bool_()),
            ("weight", pa.float64()), ("reason", pa.string()), ("reasons", pa.list_(pa.string())),
            ("never_train", pa.bool_()), ("has_text", pa.bool_()),
        ]
    ),
}  # fmt: skip

_ROW: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])


def convert(lines: Path, path: Path, kind: str) -> int:
    """Writes the JSON lines of a file to a parquet file, and returns their number."""
    schema = SCHEMAS[kind]
    count = 0
    with lines.open("rb") as source, pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(source, GROUP)):
            writer.write_batch(_batch(group, schema))
            count += len(group)
    return count


def rows_in(path: Path) -> int:
    """Returns the number of rows of a parquet file."""
    with pq.ParquetFile(path) as file:
        return int(file.metadata.num_rows)


def lines_in(path: Path, kind: str) -> Iterator[bytes]:
    """Yields the rows of a parquet file of an export as JSON text."""
    schema = SCHEMAS[kind]
    texts = {field.name for field in schema if field.type == _JSON}
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(GROUP, columns=schema.names):
            for row in batch.to_pylist():
                document = {name: _raw(value) if name in texts else value for name, value in row.items()}
                yield msgspec.json.encode(document)


def _batch(lines: Sequence[bytes], schema: pa.Schema) -> pa.RecordBatch:
    rows = [_ROW.decode(line) for line in lines]
    columns = [pa.array([_value(row[field.name], field.type) for row in rows], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _value(raw: msgspec.Raw, kind: pa.DataType) -> Any:
    text = bytes(raw)
    if text == b"null":
        return None
    if kind == _JSON:
        return text.decode()
    if kind == _TIME:
        return msgspec.json.decode(text, type=datetime).astimezone(UTC)
    return msgspec.json.decode(text)


def _raw(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())
