"""The column of shards with what edits kept of undesirable completions, and its figures for the manifest. Pure.

A snapshot has the column only if its recipe weighs what edits kept (`edit_kept_weight`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.snapshots.files.parquet import KEPT, KEPT_TYPE, SPAN
from app.snapshots.selection.candidates import KeptSpans
from app.spill.arrays import SpilledColumns


class KeptColumn:
    """The column of one shard, on disk in the order of its rows."""

    def __init__(self, columns: SpilledColumns, kept: KeptSpans, candidate: NDArray[np.int32]) -> None:
        """Stores the values of the rows with these candidates in `columns`."""
        self._columns = columns
        index = np.minimum(np.searchsorted(kept.row, candidate), max(len(kept.row) - 1, 0))
        edited = kept.row[index] == candidate if len(kept.row) else np.zeros(len(candidate), dtype=bool)
        which = index[edited]
        count = np.zeros(len(candidate), dtype=np.int64)
        count[edited] = np.diff(kept.offset)[which]
        ending = np.zeros(len(candidate), dtype=bool)
        ending[edited] = kept.ending[which]
        offset = np.concatenate(([0], np.cumsum(count)))
        # Spans of rows that follow each other: their place among all, moved by where the row's own begin.
        moved = np.repeat(kept.offset[:-1][which] - offset[:-1][edited], count[edited])
        columns.put("kept spans", kept.spans[np.arange(offset[-1]) + moved])
        columns.put("kept offset", offset)
        columns.put("kept ending", ending)
        columns.put("kept edited", edited)

    def read(self, rows: slice) -> pa.Array:
        edited, ending = self._columns.read("kept edited", rows), self._columns.read("kept ending", rows)
        offset = self._columns.read("kept offset", slice(rows.start, rows.start + len(edited) + 1))
        spans = self._columns.read("kept spans", slice(int(offset[0]), int(offset[-1]))).astype(np.int64)
        pairs = pa.StructArray.from_arrays([pa.array(spans[:, 0]), pa.array(spans[:, 1])], fields=list(SPAN))
        lists = pa.ListArray.from_arrays(pa.array((offset - offset[0]).astype(np.int32)), pairs)
        return pa.StructArray.from_arrays(
            [lists.cast(pa.list_(SPAN)), pa.array(ending)], fields=list(KEPT_TYPE), mask=pa.array(~edited)
        )


class KeptFigures:
    """Counts the rows of each split with such a value, their characters, and how many of these were kept."""

    def __init__(self) -> None:
        self._by_split: dict[str, dict[str, int]] = {}

    def add(self, split: str, table: pa.Table) -> None:
        if KEPT not in table.schema.names:
            return
        edited = table.filter(pc.is_valid(table[KEPT]))
        completion, kept = edited["completion"].combine_chunks(), edited[KEPT].combine_chunks()
        if not pa.types.is_string(completion.type):
            completion = pc.struct_field(pc.list_flatten(completion), "content")
        spans = pc.list_flatten(pc.struct_field(kept, "spans"))
        figures = self._by_split.setdefault(split, {"rows": 0, "characters": 0, "kept_characters": 0})
        figures["rows"] += len(edited)
        figures["characters"] += pc.sum(pc.utf8_length(completion)).as_py() or 0
        length = pc.subtract(pc.struct_field(spans, "end"), pc.struct_field(spans, "start"))
        figures["kept_characters"] += pc.sum(length).as_py() or 0

    def entry(self) -> Mapping[str, Any]:
        """Returns the entry of the manifest, empty if no shard has the column."""
        return {"edits": self._by_split} if self._by_split else {}
