"""Writes a snapshot's shards in other formats: JSON lines for TRL, and a folder for `datasets`. Pure.

TRL's KTOTrainer reads prompt, completion and label, either all as texts or all as chats, as the first row decides. It
ignores every other column (`_prepare_dataset` and `_set_signature_columns_if_needed` of `trl/trainer/kto_trainer.py` in
TRL 1.16), so the other columns of a row are exported, too.
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

from app.snapshots.files.message_columns import MESSAGES, TOOLS, WHOLE_MESSAGES, chat_of

#: Rows of one step, which are in memory at a time.
BATCH = 2048
#: The columns of JSON lines. `checkpoint_id` is not among them: readers that guess a column's type from its first rows
#: fail if it is null there and a text later.
LINES = ("prompt", "completion", "label", "weight", "reason", "completion_id", "signal_time", "position", TOOLS)

Shard = Mapping[str, Any]
Row = dict[str, Any]


def shards_of(manifest: Mapping[str, Any], splits: Sequence[str]) -> list[Shard]:
    """Returns the shards of these splits in the manifest's order."""
    return [shard for shard in manifest["shards"] if shard["split"] in splits]


def is_chat(manifest: Mapping[str, Any]) -> bool:
    """Returns whether all rows of every split become chats, which is so if one shard has chats."""
    return any(shard["format"] == "chat" for shard in manifest["shards"])


def is_mixed(manifest: Mapping[str, Any]) -> bool:
    """Returns whether the snapshot has both texts and chats, so that texts have to become chats."""
    return len({shard["format"] for shard in manifest["shards"]}) > 1


def as_chat(row: Row) -> Row:
    """Returns a row of texts as a chat, with the prompt as the user's message and the completion as the assistant's."""
    return {
        **row,
        "prompt": [{"role": "user", "content": row["prompt"]}],
        "completion": [{"role": "assistant", "content": row["completion"]}],
    }


def batches(folder: Path, shards: Sequence[Shard], *, chat: bool) -> Iterator[pa.RecordBatch]:
    """Yields the rows of the shards in the order of their positions, all as chats or all as texts.

    Raises `OSError` and pyarrow's errors if a shard is missing or damaged.
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
    schema = next((file.schema_arrow for file in files if TOOLS in file.schema_arrow.names), files[0].schema_arrow)
    if chat:
        messages = WHOLE_MESSAGES if TOOLS in schema.names else MESSAGES
        for name in ("prompt", "completion"):
            schema = schema.set(schema.get_field_index(name), pa.field(name, messages, nullable=False))
    while group := _first(rows, BATCH):
        yield pa.RecordBatch.from_pylist(group, schema=schema)


def write_lines(record_batches: Iterable[pa.RecordBatch], path: Path, report: Callable[[int], None]) -> int:
    """Writes JSON lines with the columns of `LINES`. Returns their number; calls `report` with the number so far."""
    total = 0
    with path.open("w", encoding="utf-8") as file:
        for batch in record_batches:
            for row in batch.select([name for name in LINES if name in batch.schema.names]).to_pylist():
                chats = {name: chat_of(row[name]) for name in ("prompt", "completion")}
                file.write(json.dumps({**row, **chats}, ensure_ascii=False, default=_time) + "\n")
            total += batch.num_rows
            report(total)
    return total


def write_arrow(record_batches: Iterable[pa.RecordBatch], path: Path, report: Callable[[int], None]) -> int:
    """Writes an Arrow stream for `datasets.Dataset.from_file`. Returns the number of rows; calls `report` with the
    number so far."""
    total = 0
    writer: pa.RecordBatchStreamWriter | None = None
    with path.open("wb") as file:
        for batch in record_batches:
            if writer is None:
                writer = pa.ipc.new_stream(file, batch.schema)
            writer.write_batch(batch)
            total += batch.num_rows
            report(total)
        if writer is not None:
            writer.close()
    return total


def _rows(file: pq.ParquetFile) -> Iterator[Row]:
    for batch in file.iter_batches(BATCH):
        yield from batch.to_pylist()


def _first(rows: Iterator[Row], count: int) -> list[Row]:
    return list(islice(rows, count))


def _time(value: Any) -> str:
    """Returns the time with six decimal places, so that readers that guess types row by row always find the same."""
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} has no place in JSON lines")
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
