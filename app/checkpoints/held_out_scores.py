"""held_out_scores.parquet: the log-ratio of each held-out row, for paired comparisons of checkpoints.

A row is named by its place in the snapshot, so the file holds neither texts nor ids. Legend: N rows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.statistics.measures import Array

FILE = "held_out_scores.parquet"
SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),  # in the shard, from 0
        pa.field("group", pa.int64(), nullable=False),  # equal for equal prompts
        pa.field("desirable", pa.bool_(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
        pa.field("log_ratio", pa.float64(), nullable=False),  # of candidate and reference, in nats a completion
    ]
)

#: A row's shard and its number in the shard.
Place = tuple[str, int]


class HeldOutScores(NamedTuple):
    """The rows of one checkpoint, each (N,)."""

    places: Sequence[Place]
    groups_N: Array
    desirable_N: Array
    weight_N: Array
    log_ratio_N: Array

    def of(self, places: Sequence[Place]) -> "HeldOutScores":
        """Returns the rows at these places, in this order. Raises KeyError if one is missing."""
        number = {place: index for index, place in enumerate(self.places)}
        rows = np.array([number[place] for place in places], dtype=np.int64)
        return HeldOutScores(
            places, self.groups_N[rows], self.desirable_N[rows], self.weight_N[rows], self.log_ratio_N[rows]
        )


def write(path: Path, scores: HeldOutScores) -> None:
    shards, rows = ([place[side] for place in scores.places] for side in range(2))
    columns = [shards, rows, scores.groups_N, scores.desirable_N, scores.weight_N, scores.log_ratio_N]
    table = pa.table(columns, schema=SCHEMA)
    pq.write_table(table, path, compression="zstd", store_schema=False)


def read(path: Path) -> HeldOutScores:
    table = pq.read_table(path, schema=SCHEMA)
    places = list(zip(table["shard"].to_pylist(), table["row"].to_pylist(), strict=True))
    return HeldOutScores(places, *(table[name].to_numpy() for name in SCHEMA.names[2:]))
