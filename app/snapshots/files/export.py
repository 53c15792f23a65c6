"""A snapshot's shards in the formats of others: JSON lines as TRL reads them, and a folder of `datasets`. Pure.

TRL's KTOTrainer reads prompt, completion and label, either all as texts or all as chats: it looks at the first row to
see which. Every other column it leaves alone (`_prepare_dataset` and `_set_signature_columns_if_needed` of
`trl/trainer/kto_trainer.py` in TRL 1.16), so what we know of a row travels along.
"""

import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

#: Rows of one step; in memory at a time.
BATCH = 2048
#: Of the columns that JSON lines have. `checkpoint_id` is not among them: readers that guess a column's type from its
#: first rows stumble where it is null there and a text later.
LINES = ("prompt", "completion", "label", "weight", "reason", "completion_id", "signal_time", "position")

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

Shard = Mapping[str, Any]
Row = dict[str, Any]


def shards_of(manifest: Mapping[str, Any], splits: Sequence[str]) -> list[Shard]:
    """The shards of these splits, as the manifest lists them."""
    return [shard for shard in manifest["shards"] if shard["split"] in splits]


def is_chat(manifest: Mapping[str, Any]) -> bool:
    """Whether the rows become chats: all of them, of every split, as soon as one is."""
    return any(shard["format"] == "chat" for shard in manifest["shards"])


def is_mixed(manifest: Mapping[str, Any]) -> bool:
    """Whether texts have to become chats."""
    return len({shard["format"] for shard in manifest["shards"]}) > 1


def as_chat(row: Row) -> Row:
    """A row of texts as a chat: the prompt is what a user said, the completion what the assistant did."""
    return {
        **row,
        "prompt": [{"role": "user", "content": row["prompt"]}],
        "completion": [{"role": "assistant", "content": row["completion"]}],
    }


def batches(folder: Path, shards: Sequence[Shard], *, chat: bool) -> Iterator[pa.RecordBatch]:
    """The rows of the shards in the order of their positions, all as chats or all as texts.

    Raises `OSError` and pyarrow's errors where a shard is not what it should be.
    """
    files = [pq.ParquetFile(folder / shard["path"]) for shard in shards]
    if len(files) == 1 and (shards[0]["format"] == "chat") == chat:
        yield from files[0].iter_batches(BATCH)
        return
    rows = heapq.merge(
        *(
            map(as_chat, _rows(file)) if chat and shard["format"] == "text" else _rows(file)
            for file, shard in zip(files, shards, strict=True)
        ),
        key=lambda row: row["position"],
    )
    schema = files[0].schema_arrow
    if chat:
        for name in ("prompt", "completion"):
            schema = schema.set(schema.get_field_index(name), pa.field(name, _MESSAGES, nullable=False))
    while group := _first(rows, BATCH):
        yield pa.RecordBatch.from_pylist(group, schema=schema)


def write_lines(found: Iterable[pa.RecordBatch], path: Path, told: Callable[[int], None]) -> int:
    """JSON lines with the columns of `LINES`. How many; `told` hears how many so far."""
    total = 0
    with path.open("w", encoding="utf-8") as file:
        for batch in found:
            for row in batch.select([name for name in LINES if name in batch.schema.names]).to_pylist():
                file.write(json.dumps(row, ensure_ascii=False, default=_time) + "\n")
            total += batch.num_rows
            told(total)
    return total


def write_arrow(found: Iterable[pa.RecordBatch], path: Path, told: Callable[[int], None]) -> int:
    """An Arrow stream, as `datasets.Dataset.from_file` maps it. How many rows; `told` hears how many so far."""
    total = 0
    writer: pa.RecordBatchStreamWriter | None = None
    with path.open("wb") as file:
        for batch in found:
            if writer is None:
                writer = pa.ipc.new_stream(file, batch.schema)
            writer.write_batch(batch)
            total += batch.num_rows
            told(total)
        if writer is not None:
            writer.close()
    return total


def _rows(file: pq.ParquetFile) -> Iterator[Row]:
    for batch in file.iter_batches(BATCH):
        yield from batch.to_pylist()


def _first(rows: Iterator[Row], count: int) -> list[Row]:
    return list(islice(rows, count))


def _time(value: Any) -> str:
    """Always with six digits behind the point: the same type for whoever guesses it row by row."""
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} has no place in JSON lines")
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
