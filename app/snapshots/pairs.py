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


def pairs_of_rows(prompt: NDArray[np.integer], desirable: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(M, 2) of the same; prompts are numbers from 0 on."""
    many = len(prompt)
    first = np.full(int(prompt.max(initial=-1)) + 1, many, dtype=np.int32)
    first[prompt[::-1]] = np.arange(many, dtype=np.int32)[::-1]
    # By prompt, in the order of their first rows.
    order = np.argsort(first[prompt], kind="stable").astype(np.int32)
    up, down = order[desirable[order]], order[~desirable[order]]
    del order
    ups, downs = (np.bincount(prompt[side], minlength=len(first)) for side in (up, down))
    prompts = np.argsort(first, kind="stable")
    up_start, down_start = np.zeros(len(first), dtype=np.int64), np.zeros(len(first), dtype=np.int64)
    up_start[prompts] = np.cumsum(ups[prompts]) - ups[prompts]
    down_start[prompts] = np.cumsum(downs[prompts]) - downs[prompts]
    both = prompts[(ups[prompts] > 0) & (downs[prompts] > 0)]
    turns = np.maximum(ups[both], downs[both])
    of = np.repeat(both.astype(np.int32), turns)
    turn = np.arange(len(of), dtype=np.int32) - np.repeat((np.cumsum(turns) - turns).astype(np.int32), turns)
    pairs = np.empty((len(of), 2), dtype=np.int32)
    for column, (rows, start, count) in enumerate(((up, up_start, ups), (down, down_start, downs))):
        pairs[:, column] = rows[start[of] + turn % count[of]]
    return pairs
