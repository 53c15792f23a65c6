"""One optimizer step in figures: collected per micro-batch, written as one line of metrics.jsonl.

Means by class are weighted by the row weights; z0 is the mean over micro-batches, weighted by their rows. Figures stay
on the device until the step ends.
"""

from statistics import median
from typing import Any

import torch
from torch import Tensor

from worker.kto.logprobs import Sequences
from worker.kto.objectives import LogProbs, Losses


class Measures:
    def __init__(self) -> None:
        self._sums: Tensor | None = None
        self._rows = 0
        self._blocks = 0
        self._tokens = 0
        self._room = 0
        self._lengths: list[int] = []

    def add(self, log_probs: LogProbs, losses: Losses, forwards: tuple[Sequences, ...], lengths: list[int]) -> None:
        """`forwards`: what the policy read for this micro-batch; `lengths`: tokens of its completions."""
        desirable_B, weight_B = log_probs.desirable_B, log_probs.weight_B
        rows = len(weight_B)
        loss_B = losses.loss_B.detach()
        figures = [loss_B.sum(), rows * losses.z0, rows * losses.z0_raw, (losses.z0_raw < 0).float()]
        for class_B in (desirable_B, ~desirable_B):
            figures += [
                (weight_B * class_B).sum(),
                (loss_B * class_B).sum(),
                (weight_B * losses.reward_B * class_B).sum(),
            ]
        sums = torch.stack([figure.float() for figure in figures])
        self._sums = sums if self._sums is None else self._sums + sums
        self._rows += rows
        self._blocks += 1
        self._tokens += sum(forward.tokens for forward in forwards)
        self._room += sum(forward.ids_BT.numel() for forward in forwards)
        self._lengths += lengths

    def line(self, seconds: float) -> dict[str, Any]:
        assert self._sums is not None, "a step has at least one micro-batch"
        loss, z0, z0_raw, clamped, *by_class = self._sums.tolist()
        (loss_d, reward_d), (loss_u, reward_u) = (_class_means(*by_class[:3]), _class_means(*by_class[3:]))
        return {
            "loss": loss / self._rows,
            "loss_desirable": loss_d,
            "loss_undesirable": loss_u,
            "reward_desirable": reward_d,
            "reward_undesirable": reward_u,
            "margin": None if reward_d is None or reward_u is None else reward_d - reward_u,
            "z0": z0 / self._rows,
            "z0_raw": z0_raw / self._rows,
            "z0_clamped_share": clamped / self._blocks,
            "tokens_per_second": self._tokens / seconds,
            "rows_per_second": self._rows / seconds,
            "padding_share": 1 - self._tokens / self._room,
            "completion_length_median": median(self._lengths),
            "seconds": seconds,
        }


def _class_means(weight: float, loss: float, reward: float) -> tuple[float | None, float | None]:
    return (loss / weight, reward / weight) if weight > 0 else (None, None)
