"""Rows as a matrix, padded to the longest one, for models that cannot read packed rows.

Legend: B rows, T tokens of the longest, N completion tokens of all rows together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worker.training.data.packing import Pair


@dataclass(frozen=True)
class Sequences:
    """Prompts with completions, padded on the right.

    Under causal attention no real token sees the padding behind it, so there is no attention mask. Counted tokens are
    known by position alone, so the padding's id does not matter.
    """

    ids_BT: Tensor
    length_B: Tensor  # tokens of each row, prompt and completion
    source_N: Tensor  # positions in the flattened B·T at which a completion token comes *next*
    target_N: Tensor  # the completion tokens
    completions: tuple[int, ...]  # tokens of each
    tokens: int  # real ones

    @property
    def row_N(self) -> Tensor:
        """The row of each completion token, shape (N,)."""
        return self.source_N // self.ids_BT.shape[1]

    @classmethod
    def of(cls, pairs: Sequence[Pair], device: torch.device) -> "Sequences":
        longest = max((len(prompt) + len(completion) for prompt, completion in pairs), default=1)
        ids = np.zeros((len(pairs), longest), dtype=np.int64)
        counted = np.zeros((len(pairs), longest), dtype=bool)
        for row, (prompt, completion) in enumerate(pairs):
            end = len(prompt) + len(completion)
            ids[row, : len(prompt)] = prompt
            ids[row, len(prompt) : end] = completion
            counted[row, len(prompt) - 1 : end - 1] = True
        source = np.flatnonzero(counted)
        return cls(
            ids_BT=torch.from_numpy(ids).to(device),
            length_B=torch.tensor(
                [len(prompt) + len(completion) for prompt, completion in pairs], dtype=torch.int64, device=device
            ),
            source_N=torch.from_numpy(source).to(device),
            target_N=torch.from_numpy(ids.reshape(-1)[source + 1]).to(device),
            completions=tuple(len(completion) for _, completion in pairs),
            tokens=sum(len(prompt) + len(completion) for prompt, completion in pairs),
        )
