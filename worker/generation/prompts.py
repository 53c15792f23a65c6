"""Prompts that are sampled."""

from collections.abc import Sequence

import numpy as np

from worker.training.data.rows import Row
from worker.training.data.tokens import Ids


def chosen_rows(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """Returns a row for each of up to `count` different prompts, in random order: the one whose prompt is cut least."""
    of_prompt: dict[bytes, Row] = {}
    for row in rows:
        kept = of_prompt.setdefault(row.prompt_key, row)
        if len(row.prompt) > len(kept.prompt):
            of_prompt[row.prompt_key] = row
    distinct = list(of_prompt.values())
    order = np.random.default_rng([seed, 2]).permutation(len(distinct))[:count]
    return [distinct[index] for index in order]


def with_room(prompt: Ids, most: int, context: int | None) -> Ids:
    """Returns the end of the prompt that leaves room for a completion of `most` tokens in the model's context."""
    return prompt if context is None else prompt[-max(1, context - most) :]
