"""Makes the tables that name rows by their shard and number: pairs of answers, and the members of a snapshot."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.snapshots.files.parquet import AT_ONCE, MEMBERS_SCHEMA, PAIRS_SCHEMA, in_order
from app.snapshots.selection.candidates import Candidates
from app.snapshots.selection.pairs import SOURCES
from app.snapshots.selection.selected_rows import Selection


def pair_tables(selection: Selection, places: Sequence[tuple[str, NDArray[np.int32]]]) -> Iterator[pa.Table]:
    """Yields tables for `write_pairs`, ordered by the chosen row's shard. `places`: the name and rows of each shard."""
    pairs = selection.pairs
    shard, number = _placed(selection, places)
    names = pa.array([name for name, _ in places], pa.string())
    sources = pa.array(SOURCES, pa.string())
    order = np.argsort(shard[pairs.chosen], kind="stable")
    for start in range(0, len(order), AT_ONCE):
        part = order[start : start + AT_ONCE]
        chosen, rejected, votes = pairs.chosen[part], pairs.rejected[part], pairs.votes[part]
        yield pa.table(
            [
                names.take(pa.array(shard[chosen])),
                number[chosen].astype(np.int64),
                names.take(pa.array(shard[rejected])),
                number[rejected].astype(np.int64),
                sources.take(pa.array(pairs.source[part])),
                *(votes[:, side] for side in range(3)),
            ],
            schema=PAIRS_SCHEMA,
        )


def _placed(
    selection: Selection, places: Sequence[tuple[str, NDArray[np.int32]]]
) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """Returns the shard of each row, as an index in `places`, and the row's index in the shard."""
    rows = len(selection.candidate) + len(selection.for_pairs.candidate)
    shard, number = np.full(rows, -1, dtype=np.int8), np.empty(rows, dtype=np.int32)
    for index, (_, which) in enumerate(places):
        shard[which], number[which] = index, np.arange(len(which), dtype=np.int32)
    return shard, number


def member_tables(
    selection: Selection, candidates: Candidates, shards: Sequence[tuple[str, NDArray[np.int32]]]
) -> Iterator[pa.Table]:
    """Yields tables for `write_members`, each of some thousand candidates."""
    shard, number = _placed(selection, shards)
    every = np.concatenate([selection.candidate, selection.for_pairs.candidate])
    names = pa.array([path for path, _ in shards], pa.string())
    candidate, row = selection.cluster
    completion, edit = candidates.completion, candidates.edit
    rank = candidates.rank[completion[candidate]]
    order = np.argsort(rank, kind="stable").astype(np.int32)
    rank = rank[order]
    ids = candidates.ids
    start = 0
    while start < len(order):
        # A part ends at the end of a completion, so that sorted parts are sorted as a whole.
        last = min(start + AT_ONCE, len(order)) - 1
        end = int(np.searchsorted(rank, rank[last], side="right"))
        part = order[start:end]
        of_row = every[row[part]]
        table = pa.table(
            [
                ids_at(ids, completion[candidate[part]]),
                row_ids(ids_at(ids, completion[of_row]), edit[of_row]),
                names.take(pa.array(shard[row[part]])),
                pa.array(number[row[part]].astype(np.int64)),
            ],
            schema=MEMBERS_SCHEMA,
        )
        yield in_order(table)
        start = end


def ids_at(ids: pa.Array, completion: NDArray[np.int32]) -> pa.Array:
    return ids.take(pa.array(completion)).cast(pa.string())


def row_ids(ids: pa.Array, edit: NDArray[np.uint64]) -> pa.Array:
    """Returns the ids of rows: the completion's id, and for an edited text also its hash."""
    written = pa.array([f"#edit:{hashed:016x}" if hashed else "" for hashed in edit.tolist()], pa.string())
    return pc.binary_join_element_wise(ids, written, "")
