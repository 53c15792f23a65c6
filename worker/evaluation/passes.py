"""What one model says of many completions: every row once, in batches that hold so many tokens and no more.

Rows lie one after another where the model can be read so, and a prompt is read once for both of its completions; how
many there are does not matter to the memory that it takes.

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
#: Told how many rows were read, after each batch; may raise so as to stop.
Tell = Callable[[int], None]


def log_probs(
    reading: Reading, pairs: Sequence[Pair], others: Sequence[Pair] | None, rows_at_once: int, tell: Tell
) -> tuple[list[Array], list[Array]]:
    """lp_C of the completion of every pair, and of `others`, other completions of the same prompts: none without them.

    `rows_at_once`: a batch has the tokens of so many of the longest rows, and more of shorter ones.
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
    """Numbers of rows, shortest first, as many at once as fit into `room` tokens; one at least. `padded`: each of them
    takes as much as the longest. `tokens`: of each row.
    """
    batch: list[int] = []
    taken = 0
    for row in sorted(range(len(tokens)), key=tokens.__getitem__):
        taken = (len(batch) + 1) * tokens[row] if padded else taken + tokens[row]
        if batch and taken > room:
            yield batch
            batch, taken = [], tokens[row]
        batch.append(row)
    if batch:
        yield batch


def sums(log_probs: Sequence[Array]) -> Array:
    """lp(y|x) of every completion, as lp_N."""
    return np.array([lp_C.sum() for lp_C in log_probs])


def _by_row(read: Forward, pairs: Sequence[Pair]) -> list[Array]:
    ends = np.cumsum([len(completion) for _, completion in pairs])
    return np.split(read.lp_N.cpu().numpy(), ends[:-1])
