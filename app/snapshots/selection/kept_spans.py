"""Compares the edits of undesirable completions with their originals, and keeps on disk what they kept. Pure except for
the files of columns and texts.

Legend: E edited completions, K spans of all of them.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.labels.kept_spans import kept, kept_by_all
from app.snapshots.selection.candidates import Candidates
from app.snapshots.selection.text_keys import AT_ONCE
from app.spill.arrays import SpilledColumns
from app.spill.texts import SpilledTexts


class EditedTexts(Protocol):
    """A source of the texts that edits made."""

    def edited(self, positions: Sequence[int]) -> Mapping[int, str]: ...


def put_kept_spans(columns: SpilledColumns, candidates: Candidates, source: EditedTexts, texts: SpilledTexts) -> None:
    """Stores the columns of `Candidates.kept`. Of a completion with several edits that is what all of them kept."""
    row, position = columns.read("edited row"), columns.read("edit position")
    edited, first = np.unique(row, return_index=True)
    last = np.append(first[1:], len(row))
    columns.put("kept row", edited.astype(np.int32))
    columns.put("kept ending", np.empty(0, dtype=bool))
    columns.put("kept count", np.empty(0, dtype=np.int32))
    columns.put("kept spans", np.empty((0, 2), dtype=np.int32))
    for start in range(0, len(edited), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        positions = position[first[part][0] : last[part][-1]]
        written = source.edited(sorted(set(positions.tolist())))
        originals = candidates.completions(texts, edited[part])
        several = (position[begin:end].tolist() for begin, end in zip(first[part], last[part], strict=True))
        every = [
            kept_by_all([kept(original, written[each]) for each in edits])
            for original, edits in zip(originals, several, strict=True)
        ]
        columns.append("kept ending", np.array([each.ending for each in every], dtype=bool))
        columns.append("kept count", np.array([len(each.spans) for each in every], dtype=np.int32))
        spans: NDArray[np.int32] = np.array([span for each in every for span in each.spans], dtype=np.int32)
        columns.append("kept spans", spans.reshape(-1, 2))
