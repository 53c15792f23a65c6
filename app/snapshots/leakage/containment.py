"""Counts held-out prompts that training prompts contain whole, and held-out answers that training has. Pure.

A model that was trained on a chat has seen the prompts of the chat's earlier turns.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.snapshots.prompts.conversations import OPENING

#: Characters of a training prompt that are searched.
CHARACTERS = 8_000


def contained(holdout: Sequence[str], train: Sequence[str]) -> dict[str, int]:
    """Returns the number of held-out prompts that were searched for, and of those that a training prompt contains word
    by word. Prompts of fewer than `OPENING` characters are too short to be searched for."""
    sides = ([f" {' '.join(text.split())} " for text in texts] for texts in (holdout, train))
    wanted, through = sides
    wanted = [text for text in wanted if len(text) - 2 >= OPENING]
    contained_texts: set[str] = set()
    if wanted and through:
        matches = pl.Series(through, dtype=pl.String).str.extract_many(sorted(set(wanted)), overlapping=True)
        contained_texts = set(matches.explode().drop_nulls().to_list())
    return {"looked_for": len(wanted), "contained": sum(text in contained_texts for text in wanted)}


class Answers:
    """Collects the answers of both sides while they are written, with 8 bytes for each."""

    def __init__(self) -> None:
        self._hashes: dict[bool, list[NDArray[np.uint64]]] = {True: [], False: []}

    def add(self, answers: pl.Series, *, held_out: bool) -> None:
        self._hashes[held_out].append(answers.hash().to_numpy())

    def report(self) -> dict[str, int]:
        """Returns the number of held-out rows, and of those with the answer of a training row."""
        held_out, train = (np.concatenate([np.empty(0, np.uint64), *self._hashes[side]]) for side in (True, False))
        equal = np.isin(held_out, train)
        return {"holdout": len(held_out), "equal": int(np.count_nonzero(equal))}
