"""How many held-out prompts are contained whole in training prompts, and how many held-out answers training has. Pure.

A model that was trained on a chat has seen what the prompts of its earlier turns say.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.snapshots.prompts.conversations import OPENING

#: Characters of a training prompt that are looked through.
CHARACTERS = 8_000


def contained(holdout: Sequence[str], train: Sequence[str]) -> dict[str, int]:
    """Returns how many of the held-out prompts stand in a training prompt, word by word; prompts of fewer than
    `OPENING` characters say too little to be looked for."""
    sides = ([f" {' '.join(text.split())} " for text in texts] for texts in (holdout, train))
    wanted, through = sides
    wanted = [text for text in wanted if len(text) - 2 >= OPENING]
    found: set[str] = set()
    if wanted and through:
        matches = pl.Series(through, dtype=pl.String).str.extract_many(sorted(set(wanted)), overlapping=True)
        found = set(matches.explode().drop_nulls().to_list())
    return {"looked_for": len(wanted), "contained": sum(text in found for text in wanted)}


class Answers:
    """Takes the answers of both sides while they are written; 8 bytes each."""

    def __init__(self) -> None:
        self._hashes: dict[bool, list[NDArray[np.uint64]]] = {True: [], False: []}

    def add(self, answers: pl.Series, *, held_out: bool) -> None:
        self._hashes[held_out].append(answers.hash().to_numpy())

    def report(self) -> dict[str, int]:
        """Returns how many held-out rows there are, and how many of them have the answer of a training row."""
        held_out, train = (np.concatenate([np.empty(0, np.uint64), *self._hashes[side]]) for side in (True, False))
        equal = np.isin(held_out, train)
        return {"holdout": len(held_out), "equal": int(np.count_nonzero(equal))}
