"""Rows packed one after another into one sequence, without padding; positions restart, and a prompt is read once.

Legend: T tokens of the sequence, N completion tokens, B rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.training.data.tokens import Ids
from worker.training.forward.attention import Bounds, Layout, PackedSegment

Pair = tuple[Ids, Ids]


@dataclass(frozen=True)
class Packed:
    ids_T: Tensor
    positions_T: Tensor
    source_N: Tensor  # positions *before* a completion token: here, or − 1 − position in the sequence continued
    target_N: Tensor  # the completion tokens
    row_N: Tensor
    completions: tuple[int, ...]  # tokens of each
    layout: Layout
    prompts: tuple[Ids, ...]
    continues: "Packed | None" = None

    @classmethod
    def of(cls, pairs: Sequence[Pair], device: torch.device, *, at_once: bool = False) -> "Packed":
        """Packs prompts with their completions. `at_once` prepares for a kernel that reads all segments in one call."""
        return _pack(pairs, [None] * len(pairs), device, None, at_once=at_once)

    def continued(self, pairs: Sequence[Pair], device: torch.device) -> "Packed":
        """Packs the same prompts with other completions, to be read after this sequence by the same kernel.

        A prompt that was cut differently to make room for its other completion counts as new and is read again.
        """
        prefixes = [
            segment.start if np.array_equal(prompt, mine) else None
            for (prompt, _), mine, segment in zip(pairs, self.prompts, self.layout.segments, strict=True)
        ]
        return _pack(pairs, prefixes, device, self, at_once=self.layout.bounds is not None)

    @property
    def tokens(self) -> int:
        return len(self.ids_T)


def _pack(
    pairs: Sequence[Pair],
    prefixes: Sequence[int | None],
    device: torch.device,
    continues: Packed | None,
    *,
    at_once: bool,
) -> Packed:
    """Packs `pairs`; `prefixes` are the offsets of the prompts in the sequence that is continued, None for new ones."""
    ids: list[NDArray[Any]] = []
    positions: list[NDArray[Any]] = []
    source: list[NDArray[Any]] = []
    row: list[NDArray[Any]] = []
    segments: list[PackedSegment] = []
    end = 0
    for number, ((prompt, completion), prefix) in enumerate(zip(pairs, prefixes, strict=True)):
        start = end
        if prefix is None:
            ids += [prompt, completion]
            positions.append(np.arange(len(prompt) + len(completion)))
            end += len(prompt) + len(completion)
            source.append(np.arange(end - len(completion) - 1, end - 1))
            segments.append(PackedSegment(start, end))
        else:
            ids.append(completion)
            positions.append(np.arange(len(prompt), len(prompt) + len(completion)))
            end += len(completion)
            source += [np.array([-(prefix + len(prompt))]), np.arange(start, end - 1)]
            segments.append(PackedSegment(start, end, (prefix, prefix + len(prompt))))
        row.append(np.full(len(completion), number))

    def tensor(parts: Sequence[NDArray[Any]]) -> Tensor:
        joined = np.concatenate(parts) if len(parts) else np.zeros(0)
        return torch.from_numpy(joined.astype(np.int64)).to(device)

    recalls = continues.layout if continues else None
    bounds = Bounds.of(segments, recalls.tokens if recalls else 0, device) if at_once else None
    return Packed(
        ids_T=tensor(ids),
        positions_T=tensor(positions),
        source_N=tensor(source),
        target_N=tensor([completion for _, completion in pairs]),
        row_N=tensor(row),
        completions=tuple(len(completion) for _, completion in pairs),
        layout=Layout(tuple(segments), recalls=recalls, bounds=bounds),
        prompts=tuple(prompt for prompt, _ in pairs),
        continues=continues,
    )
