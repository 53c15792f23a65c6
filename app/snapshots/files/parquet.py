"""Names, schemas and the writer of a snapshot's parquet files. The same rows give the same bytes."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from app.durable import flush
from app.snapshots.files.message_columns import TOOLS, column_type

#: Rows of one row group, which are in memory at a time.
GROUP = 4096
#: Pairs, and members, that are in memory at a time.
AT_ONCE = 16 * GROUP
PAIRS, MEMBERS, MANIFEST, CARD = "pairs.parquet", "members.parquet", "manifest.json", "card.md"
#: Where a snapshot comes from: project, version of the server, and who wrote its rows as seen from what was live.
ORIGIN = "origin.json"
#: A manifest of format 2 identifies the content alone. An older one, without a format, also has the origin.
MANIFEST_FORMAT = 2
#: The column of shards with the mean log-prob per token that a completion had when it was sampled, in nats.
WRITER_LOG_PROB = "writer_log_prob"
#: The column of shards with what edits kept of undesirable completions: characters of the completion or of its message,
#: and whether its end was kept, too. Null for other rows.
KEPT = "kept"
SPAN = pa.struct([("start", pa.int64()), ("end", pa.int64())])
KEPT_TYPE = pa.struct([("spans", pa.list_(SPAN)), ("ending", pa.bool_())])

PAIRS_SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("chosen", pa.int64(), nullable=False),
        pa.field("rejected_shard", pa.string(), nullable=False),
        pa.field("rejected", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("votes_chosen", pa.int32(), nullable=False),
        pa.field("votes_rejected", pa.int32(), nullable=False),
        pa.field("votes_even", pa.int32(), nullable=False),
    ]
)
MEMBERS_SCHEMA = pa.schema(
    [
        pa.field("completion_id", pa.string(), nullable=False),
        pa.field("row", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("number", pa.int64(), nullable=False),
    ]
)


def shard_schema(
    kind: str, *, labelled: bool = True, log_probs: bool = False, kept: bool = False, rich: bool = False
) -> pa.Schema:
    """Returns the columns of a shard whose prompts are texts or chats.

    `position` is the row's place in its split, over both formats; rows without a label, which only pairs need, come
    last. `log_probs`: whether there is a column `WRITER_LOG_PROB`. `kept`: whether there is a column `KEPT`. `rich`:
    whether messages are whole, see `message_columns`.
    """
    text = column_type(kind, rich=rich)
    return pa.schema(
        [
            pa.field("prompt", text, nullable=False),
            pa.field("completion", text, nullable=False),
            pa.field("label", pa.bool_(), nullable=not labelled),
            pa.field("weight", pa.float64(), nullable=False),
            pa.field("reason", pa.string(), nullable=False),
            pa.field("completion_id", pa.string(), nullable=False),
            pa.field("checkpoint_id", pa.string()),
            pa.field("signal_time", pa.timestamp("us", "UTC"), nullable=False),
            pa.field("position", pa.int64(), nullable=False),
            *([pa.field(WRITER_LOG_PROB, pa.float64())] if log_probs else []),
            *([pa.field(KEPT, KEPT_TYPE)] if kept else []),
            *([pa.field(TOOLS, pa.string())] if rich and kind == "chat" else []),
        ]
    )


def write_pairs(path: Path, tables: Iterable[pa.Table]) -> None:
    """Writes the pairs: the shards and numbers of their rows."""
    with parquet(path, PAIRS_SCHEMA, dictionaries=["shard", "rejected_shard", "source"]) as writer:
        for table in tables:
            writer.write_table(table)


def with_sources(pairs: pa.Table) -> pa.Table:
    """Returns pairs with their source: in old snapshots, which have no such column, all were derived from labels."""
    if "source" in pairs.schema.names:
        return pairs
    none = pa.array([0] * len(pairs), pa.int32())
    columns = {
        "shard": pairs["shard"],
        "chosen": pairs["chosen"],
        "rejected_shard": pairs["shard"],
        "rejected": pairs["rejected"],
        "source": pa.array(["derived"] * len(pairs), pa.string()),
        **dict.fromkeys(("votes_chosen", "votes_rejected", "votes_even"), none),
    }
    return pa.table(columns, schema=PAIRS_SCHEMA)


def write_members(path: Path, members: Iterable[pa.Table]) -> None:
    """Writes the rows of each completion in the snapshot. They must be ordered by completion_id and row, so that a
    completion is found without reading the whole file.
    """
    with parquet(path, MEMBERS_SCHEMA, dictionaries=["shard"]) as writer:
        waiting = MEMBERS_SCHEMA.empty_table()
        for table in members:
            waiting = pa.concat_tables([waiting, table])
            whole = len(waiting) - len(waiting) % GROUP
            if whole:
                writer.write_table(waiting.slice(0, whole), row_group_size=GROUP)
                waiting = waiting.slice(whole)
        if len(waiting):
            writer.write_table(waiting, row_group_size=GROUP)


def in_order(members: pa.Table) -> pa.Table:
    """Returns members sorted as `write_members` needs them."""
    return members.sort_by([("completion_id", "ascending"), ("row", "ascending")])


@contextmanager
def parquet(path: Path, schema: pa.Schema, *, dictionaries: Sequence[str] = ()) -> Iterator[pq.ParquetWriter]:
    """Yields a writer of a file that is flushed to the disk at the end."""
    # Every option that reaches the bytes is set here, not left to the defaults of a version.
    with (
        path.open("wb") as file,
        pq.ParquetWriter(
            file, schema, version="2.6", data_page_version="1.0", compression="zstd", compression_level=3,
            use_dictionary=list(dictionaries) or False, write_statistics=True, store_schema=False,
        ) as writer,
    ):  # fmt: skip
        yield writer
    flush(path)
