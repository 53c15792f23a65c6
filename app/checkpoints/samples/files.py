"""samples.parquet: what candidate, shipped checkpoint and ancestor wrote. Pure.

It has a row for each prompt, decoding and model. Rows of one prompt and decoding follow each other, so that they can be
shown side by side: a *set*, which has a row of every model. A prompt that is replayed has the answer that users
disliked or liked; its rows are removed with the snapshot's row of that answer.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MODELS = ("candidate", "shipped", "ancestor")
Source = Literal["holdout", "suite", "disliked", "liked"]
#: Sources of replayed prompts.
REPLAYED: tuple[Source, ...] = ("disliked", "liked")
#: Rows of a row group; a multiple of the number of models, so that no set is split.
GROUP = 300 * len(MODELS)

SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),  # a `Source`
        pa.field("suite", pa.string()),
        pa.field("test", pa.int64()),
        pa.field("prompt_label", pa.string()),
        pa.field("group", pa.string(), nullable=False),  # the prompt's key in hex, or suite/test/label
        pa.field("prompt", pa.string(), nullable=False),  # JSON of a text or of a list of messages
        pa.field("model", pa.string(), nullable=False),
        pa.field("decoding", pa.string(), nullable=False),  # greedy or sampled
        pa.field("completion", pa.string(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("finished", pa.bool_(), nullable=False),
        # Log-probs of a drawn completion under each model: nats, summed over its tokens.
        pa.field("lp_candidate", pa.float64()),
        pa.field("lp_shipped", pa.float64()),
        pa.field("lp_ancestor", pa.float64()),
        # The answer of a replayed prompt, null for others; files of earlier versions have no such columns.
        pa.field("completion_id", pa.string()),
        pa.field("answer", pa.string()),
        pa.field("split", pa.string()),  # of the answer's row, train or holdout
    ]
)
#: Columns by which sets are filtered.
FILTERS = ("source", "suite", "decoding")

Row = Mapping[str, Any]


def write(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, row_group_size=GROUP, compression="zstd")


def read(file: IO[bytes] | Path) -> pa.Table:
    return pq.read_table(file)


def sets_of(table: pa.Table) -> list[dict[str, Row]]:
    """Returns the sets of the table: the row of each model, by its name."""
    rows = table.to_pylist()
    width = len(MODELS)
    return [{row["model"]: row for row in rows[start : start + width]} for start in range(0, len(rows), width)]


def numbers_of(file: IO[bytes], wanted: Mapping[str, str | None]) -> Sequence[int]:
    """Returns the numbers of the sets whose columns have the wanted values; None wants any value."""
    table = pq.read_table(file, columns=list(FILTERS))
    table = table.take(pa.array(range(0, len(table), len(MODELS)), pa.int64()))
    mask = pa.array([True] * len(table))
    for column, value in wanted.items():
        if value is not None:
            mask = pc.and_(mask, pc.fill_null(pc.equal(table[column], value), fill_value=False))
    return [number for number, kept in enumerate(mask.to_pylist()) if kept]


def read_sets(file: IO[bytes], numbers: Sequence[int]) -> Iterator[dict[str, Row]]:
    """Yields the sets with these numbers, which ascend. Reads only the row groups that have them."""
    per_group = GROUP // len(MODELS)
    with pq.ParquetFile(file) as samples:
        held, sets = -1, list[dict[str, Row]]()
        for number in numbers:
            group = number // per_group
            if group != held:
                held, sets = group, sets_of(samples.read_row_group(group))
            yield sets[number % per_group]


def replayed_ids(table: pa.Table) -> list[str]:
    """Returns the ids of the replayed answers."""
    if "completion_id" not in table.column_names:
        return []
    ids: list[str] = table["completion_id"].drop_null().unique().to_pylist()
    return ids


def without_erased(table: pa.Table, groups: Collection[str], completion_ids: Collection[str]) -> pa.Table:
    """Returns the table without held-out prompts other than those of `groups`, and without replayed answers other than
    those of `completion_ids`.
    """
    lost = _is_other(table, ("holdout",), "group", groups)
    if "completion_id" in table.column_names:
        lost = pc.or_(lost, _is_other(table, REPLAYED, "completion_id", completion_ids))
    return table.filter(pc.invert(lost))


def _is_other(table: pa.Table, sources: Sequence[Source], column: str, left: Collection[str]) -> pa.ChunkedArray:
    """Returns which rows of these sources have another value than those in `left`."""
    is_left = pc.is_in(table[column], pa.array(sorted(left), pa.string()))
    return pc.and_(pc.is_in(table["source"], pa.array(sources, pa.string())), pc.invert(is_left))
