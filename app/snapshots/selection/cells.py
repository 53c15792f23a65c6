"""The training rows of a selection, counted by checkpoint, reason and label. Pure."""

import numpy as np

from app.snapshots.balance.plan import Cell
from app.snapshots.selection.candidates import Candidates
from app.snapshots.selection.dense_numbers import dense, present
from app.snapshots.selection.selected_rows import TRAIN, Selection


def cells_of(selection: Selection, candidates: Candidates) -> list[Cell]:
    """Returns the training rows by checkpoint, reason and label."""
    train = np.flatnonzero(selection.split == TRAIN).astype(np.int32)
    candidate = selection.candidate[train]
    kind = candidates.checkpoint[candidates.completion[candidate]] + np.int32(1)
    kind *= len(candidates.reasons)
    kind += candidates.reason[candidate]
    kind *= 2
    kind += selection.label[train]
    del candidate
    kinds, number = np.flatnonzero(present(kind)), dense(kind)
    weight = selection.weight[train]
    rows, weights = np.bincount(number, minlength=len(kinds)), np.bincount(number, weight, len(kinds))
    squares = np.bincount(number, weight**2, len(kinds))
    cells = []
    for index, code in enumerate(kinds.tolist()):
        source, desirable = divmod(code, 2)
        checkpoint, reason = divmod(source, len(candidates.reasons))
        name = None if checkpoint == 0 else candidates.checkpoints[checkpoint - 1]
        sums = int(rows[index]), float(weights[index]), float(squares[index])
        cells.append(Cell(name, candidates.reasons[reason], bool(desirable), *sums))
    return cells
