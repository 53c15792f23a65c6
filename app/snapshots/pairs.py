"""Which completions of one prompt are compared with each other, for the objectives that learn from pairs. Pure."""

from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import NDArray


def pairs_of(rows: Iterable[tuple[Hashable, bool]]) -> list[tuple[int, int]]:
    """(number of the chosen row, number of the rejected row), rows counted from 0; a row is (prompt, desirable).

    A prompt with rows of one class gives no pair. Of the others, each row of the larger class is used once, and those
    of the rarer class are repeated in turn: no row is left out, and no prompt counts for more than its larger class.
    A preference, one row of each class, is exactly its pair. Prompts in the order of their first row.
    """
    numbers: dict[Hashable, int] = {}
    known = [(numbers.setdefault(prompt, len(numbers)), desirable) for prompt, desirable in rows]
    prompt = np.array([number for number, _ in known], dtype=np.int64)
    pairs = pairs_of_rows(prompt, np.array([desirable for _, desirable in known], dtype=bool))
    return [(chosen, rejected) for chosen, rejected in pairs.tolist()]


def pairs_of_rows(prompt: NDArray[np.integer], desirable: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(M, 2) of the same; prompts are numbers."""
    _, first, number = np.unique(prompt, return_index=True, return_inverse=True)
    number = number.astype(np.int32)
    order = np.argsort(first[number], kind="stable")  # by prompt, in the order of their first rows
    up, down = order[desirable[order]], order[~desirable[order]]
    ups, downs = (np.bincount(number[side], minlength=len(first)) for side in (up, down))
    prompts = np.argsort(first, kind="stable")
    up_start, down_start = np.zeros(len(first), dtype=np.int64), np.zeros(len(first), dtype=np.int64)
    up_start[prompts] = np.cumsum(ups[prompts]) - ups[prompts]
    down_start[prompts] = np.cumsum(downs[prompts]) - downs[prompts]
    both = prompts[(ups[prompts] > 0) & (downs[prompts] > 0)]
    turns = np.maximum(ups[both], downs[both])
    of = np.repeat(both, turns)
    turn = np.arange(len(of)) - np.repeat(np.cumsum(turns) - turns, turns)
    return np.stack([up[up_start[of] + turn % ups[of]], down[down_start[of] + turn % downs[of]]], axis=1)
