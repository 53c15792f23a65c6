"""One optimizer step in figures: collected per micro-batch, written as one line of metrics.jsonl.

Means are weighted by the row weights, and null where a class is absent or the objective has no such figure; z0 is the
mean over micro-batches, weighted by their rows. Figures stay on the device until the step ends.

tokens_per_second: tokens that the policy read, no padding among them, in a second of the step; a prompt that is read
once for two completions counts once. Times differ between a resumed run and an uninterrupted one: no decision of the
trainer rests on them.

accuracy: share of the rows whose reward is on its label's side of the reference point (β·z0; δ for bco; 0 without one);
of pairs, share in which the chosen row has the higher reward.
"""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

import torch
from thumbwheel.wire.recipe import Recipe
from torch import Tensor

from worker.training.forward.logprobs import Forward
from worker.training.machine.ranks import Ranks
from worker.training.objectives import LogProbs, Losses, Objective
from worker.training.objectives.signature import pair_weights, pairs


class Measures:
    def __init__(self, objective: Objective, recipe: Recipe) -> None:
        self._objective = objective
        self._recipe = recipe
        self._sums: Tensor | None = None
        self._tokens = 0
        self._room = 0
        self._lengths: list[int] = []

    def add(
        self, log_probs: LogProbs, losses: Losses, forwards: Iterable[Forward | None], lengths: Sequence[int]
    ) -> None:
        """Adds a micro-batch.

        forwards  what the policy read: the rows, and their mismatched pairs where the objective has any
        lengths   tokens of the completions
        """
        desirable_B, weight_B = log_probs.desirable_B, log_probs.weight_B
        paired = self._objective.data == "pairs"
        loss_B = losses.loss_B.detach()
        clamped = (losses.z0_raw < 0).float() * len(weight_B)
        figures = [loss_B.sum(), *(len(weight_B) * z for z in (losses.z0, losses.z0_raw)), clamped]
        figures += self._hits(log_probs, losses)
        for class_B in (desirable_B, ~desirable_B):
            figures += [
                (weight_B * class_B).sum(),
                torch.zeros(()) if paired else (loss_B * class_B).sum(),
                (weight_B * losses.reward_B * class_B).sum(),
            ]
        figures.append(torch.tensor(float(len(weight_B))))
        sums = torch.stack([figure.float().to(weight_B.device, non_blocking=True) for figure in figures])
        self._sums = sums if self._sums is None else self._sums + sums
        for forward in forwards:
            if forward is not None:
                self._tokens += forward.tokens
                self._room += forward.room
        self._lengths += lengths

    def _hits(self, log_probs: LogProbs, losses: Losses) -> list[Tensor]:
        """Returns the weight of the correct rows or pairs, and of all."""
        if self._objective.data == "pairs":
            weight_P = pair_weights(log_probs)
            chosen_P, rejected_P = pairs(losses.reward_B)
            return [(weight_P * (chosen_P > rejected_P)).sum(), weight_P.sum()]
        point = self._recipe.beta * losses.z0
        if losses.running_2 is not None:
            point = losses.running_2[0] / losses.running_2[1].clamp(min=1e-12)
        right_B = (losses.reward_B > point) == log_probs.desirable_B
        return [(log_probs.weight_B * right_B).sum(), log_probs.weight_B.sum()]

    def totals(self, ranks: Ranks) -> list[float]:
        """Returns the sums over all ranks. Waits for the device."""
        assert self._sums is not None, "a step has at least one micro-batch"
        counts = torch.tensor([self._tokens, self._room], dtype=torch.float32).to(self._sums.device)
        found: list[float] = ranks.sum(torch.cat([self._sums, counts])).tolist()
        return found

    def line(self, totals: Sequence[float], seconds: float, examples: int) -> dict[str, Any]:
        """Returns a line of metrics; `examples` counts the rows or pairs of the step over all ranks."""
        *sums, rows, tokens, room = totals
        loss, z0, z0_raw, clamped, hits, hits_of, *by_class = sums
        rows = max(rows, 1.0)
        (loss_d, reward_d), (loss_u, reward_u) = (_class_means(*by_class[:3]), _class_means(*by_class[3:]))
        classless = self._objective.data != "rows"
        pointless = not self._objective.mismatched
        return {
            "loss": loss / examples,
            "loss_desirable": None if classless else loss_d,
            "loss_undesirable": None if classless else loss_u,
            "reward_desirable": reward_d,
            "reward_undesirable": reward_u,
            "margin": None if reward_d is None or reward_u is None else reward_d - reward_u,
            "accuracy": hits / hits_of if hits_of > 0 and self._objective.data != "desirable rows" else None,
            "z0": None if pointless else z0 / rows,
            "z0_raw": None if pointless else z0_raw / rows,
            "z0_clamped_share": None if pointless else clamped / rows,
            "tokens_per_second": tokens / seconds,
            "rows_per_second": rows / seconds,
            "padding_share": 1 - tokens / room,
            "completion_length_median": median(self._lengths) if self._lengths else None,
            "seconds": seconds,
        }


def _class_means(weight: float, loss: float, reward: float) -> tuple[float | None, float | None]:
    return (loss / weight, reward / weight) if weight > 0 else (None, None)
