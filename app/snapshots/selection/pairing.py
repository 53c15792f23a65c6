"""Makes the pairs of a snapshot's rows from comparisons, edits and labels. Pure."""

from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from app.snapshots.prompts.split import Split
from app.snapshots.selection.candidates import Candidates
from app.snapshots.selection.pairs import Pairs, pairs_from, pairs_of_rows
from app.snapshots.selection.text_keys import numbered

SPLITS = len(get_args(Split))


@dataclass(frozen=True)
class Material:
    """Candidates that could make pairs: comparisons with their votes, and edits with their originals."""

    compared: NDArray[np.int32]
    votes: NDArray[np.int32]
    edits: NDArray[np.int32]
    authors: NDArray[np.int64]

    def candidates(self) -> NDArray[np.int32]:
        """Returns the candidates, each once."""
        return np.unique(np.concatenate([self.compared, self.edits]))


def material_of(candidates: Candidates) -> Material:
    """Returns the candidates that could make pairs."""
    two, votes = candidates.compared
    written = np.flatnonzero(candidates.edit).astype(np.int32)
    edits, authors = np.empty((0, 2), dtype=np.int32), np.empty(0, dtype=np.int64)
    if len(written):
        completion, edit = candidates.completion, candidates.edit
        original = np.full(int(completion.max()) + 1, -1, dtype=np.int32)
        itself = np.flatnonzero(edit == 0).astype(np.int32)
        original[completion[itself]] = itself
        edits = np.stack([written, original[completion[written]]], axis=1)
        edits = edits[edits[:, 1] >= 0]
        authors = np.bincount(candidates.members[0], minlength=len(candidates))[edits[:, 0]]
    return Material(two, votes, edits, authors)


def pairs_among(
    candidates: Candidates,
    two: Material,
    row: NDArray[np.int32],
    every: NDArray[np.int32],
    split: NDArray[np.int8],
    derive_from: NDArray[np.int32],
) -> Pairs:
    """Returns the pairs of rows that are in one split and about one prompt.

    row          each candidate's index in `every`, -1 for none
    every        the candidates of all rows; `split` is the split of each row
    derive_from  the first candidates of `every`, which make pairs by their labels
    """
    either = len(two.compared) or len(two.edits)
    key = numbered(candidates.prompts.key[candidates.prompt[every]]) if either else every

    def rows_of(pairs: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        rows = row[pairs]
        first, second = rows[:, 0], rows[:, 1]
        there = (rows >= 0).all(axis=1) & (split[first] == split[second]) & (key[first] == key[second])
        return rows[there], there

    compared, compared_there = rows_of(two.compared)
    edits, edits_there = rows_of(two.edits)
    derived = np.empty((0, 2), dtype=np.int32)
    if len(derive_from):
        label = candidates.label[derive_from]
        group = candidates.prompt[derive_from].astype(np.int64) * SPLITS + split[: len(derive_from)]
        derived = pairs_of_rows(np.unique(group, return_inverse=True)[1], label)
    return pairs_from(compared, two.votes[compared_there], edits, two.authors[edits_there], derived)
