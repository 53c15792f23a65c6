"""Computes the log-probs of many completions under one model: every row once, in batches of limited size in tokens.

Rows are packed if the model allows it, and a prompt is read once for both of its completions. The memory in use does
not depend on the number of rows.

Legend: C tokens of one completion, N rows.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worker.training.data.packing import Pair
from worker.training.forward.logprobs import Forward, Reading

Array = NDArray[Any]
#: Called after each batch with the number of rows read; it may raise in order to stop.
Tell = Callable[[int], None]


def log_probs(
    reading: Reading, pairs: Sequence[Pair], others: Sequence[Pair] | None, rows_at_once: int, tell: Tell
) -> tuple[list[Array], list[Array]]:
    """Returns lp_C of the completion of every pair, and of `others`, other completions of the same prompts, if given.

    A batch holds as many tokens as `rows_at_once` of the longest rows, and so more of shorter rows.
    """
    own: dict[int, Array] = {}
    other: dict[int, Array] = {}
    sides = (pairs, pairs if others is None else others)
    longest = [max(len(prompt) + len(completion) for prompt, completion in both) for both in zip(*sides, strict=True)]
    for rows in batches(longest, rows_at_once * max(longest, default=0), padded=not reading.packed):
        with torch.no_grad():
            read, read_others = reading.read(
                [pairs[row] for row in rows], None if others is None else [others[row] for row in rows]
            )
        own.update(zip(rows, _by_row(read, [pairs[row] for row in rows]), strict=True))
        if others is not None and read_others is not None:
            other.update(zip(rows, _by_row(read_others, [others[row] for row in rows]), strict=True))
        tell(len(rows))
    return [own[row] for row in range(len(own))], [other[row] for row in range(len(other))]


def batches(tokens: Sequence[int], room: int, *, padded: bool) -> Iterator[list[int]]:
    """Yields batches of row numbers, shortest rows first, each as many as fit into `room` tokens, but at least one.

    `tokens` are the lengths of the rows. In a `padded` batch each row takes as much as the longest.
    """
    batch: list[int] = []
    size = 0
    for row in sorted(range(len(tokens)), key=tokens.__getitem__):
        size = (len(batch) + 1) * tokens[row] if padded else size + tokens[row]
        if batch and size > room:
            yield batch
            batch, size = [], tokens[row]
        batch.append(row)
    if batch:
        yield batch


def sums(log_probs: Sequence[Array]) -> Array:
    """Returns lp(y|x) of every completion, (N,)."""
    return np.array([lp_C.sum() for lp_C in log_probs])


def _by_row(read: Forward, pairs: Sequence[Pair]) -> list[Array]:
    ends = np.cumsum([len(completion) for _, completion in pairs])
    return np.split(read.lp_N.cpu().numpy(), ends[:-1])
