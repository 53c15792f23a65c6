"""Decides how many rows are sampled together: as many as memory holds, since a step costs few rows as much as many.

A row needs its cache, with the tokens still to come, and the logits of its next token with the copies that a draw
makes of them. The cache of the longest prompt is measured.

Legend: B rows, T tokens, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch

from worker.generation.batch import Batch
from worker.generation.caches import bytes_of
from worker.generation.sampler import generating
from worker.generation.ways import BatchWay
from worker.training.data.tokens import Ids
from worker.training.machine.free_memory import free_bytes

#: The largest number of rows. Beyond it, a step takes about as much longer as it has more rows.
MOST = 256
#: Share of the free memory to use.
SHARE = 0.5
#: Bytes of a token's logit: in the model's precision, in float32, divided, as probabilities, and summed in float64.
BYTES_PER_LOGIT = 28
#: Memory of the cache, as a multiple of its content: a step copies a layer, and a row that leaves or joins, all rows.
COPIES = 2


def rows_that_fit(
    model: Any, way: BatchWay, prompts: Sequence[Ids], most: int, precision: torch.dtype, *, at_least: int
) -> int:
    """Returns a number of rows from `at_least` to `MOST`: `at_least` times a power of two.

    prompts   the prompts to be written for
    most      tokens of the longest completion
    at_least  a number of rows that is known to fit, or has to be tried

    Rows that cannot join others are read and written together, so the number stays `at_least`.
    """
    if not way.padded or not prompts:
        return at_least
    longest = max(prompts, key=len)
    with generating(model, precision):
        logits_BV, read = Batch(model, way).prefill([longest])
    by_token = bytes_of(read.cache) / len(longest)  # too much for a cache that does not grow with each token
    row = COPIES * by_token * (len(longest) + most) + BYTES_PER_LOGIT * logits_BV.shape[-1]
    free = SHARE * free_bytes(logits_BV.device)
    rows = at_least
    while 2 * rows <= MOST and 2 * rows * row <= free:
        rows *= 2
    return rows
