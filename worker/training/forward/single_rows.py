"""Compares a fast way of reading rows with reading each row alone, in float32.

The comparison covers the log-probs of rows and of mismatched pairs, and the gradients of the trained weights. A row
that is read alone has nothing to mix with. Another way may differ from that by rounding only, and in float32 rounding
is far smaller than any fault: a token that leaks from one row into the next, an attention scale that is 2 % off,
positions that do not restart.

    loss = Σ_b c_b · lp_b      c_b of either sign and of different sizes, so that faults of two rows do not cancel

Legend: B rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from worker.training.data.packing import Pair
from worker.training.forward.logprobs import Inputs, Reading

#: Rows with their own completions, and the same prompts with other completions.
Batch = tuple[Sequence[Pair], Sequence[Pair]]


class Within(NamedTuple):
    """The bounds on the difference of two computations of the same numbers."""

    relative: float  # nats for each nat of a log-prob
    absolute: float  # nats
    gradient: float  # ‖difference‖ of a weight's gradient, as a share of its norm
    floor: float  # the same as a share of the norm over all weights: a gradient that is nearly zero has no digits


#: Allows for rounding in float32.
TIGHT = Within(1e-5, 2e-4, 1e-3, 1e-5)
#: Allows for rounding that sends a token to another expert, and for attention in 16 bits.
LOOSE = Within(1e-3, 2e-2, 2e-2, 2e-2)


@dataclass(frozen=True)
class Distance:
    """The difference between a way of reading and reading rows alone."""

    difference_B: Tensor  # of log-probs, of rows and of mismatched pairs, in nats
    expected_B: Tensor
    gradients: Sequence[tuple[float, float]]  # ‖difference‖ and ‖expected‖ of each weight's gradient

    @property
    def finite(self) -> bool:
        """Returns whether single rows have finite log-probs and gradients; if not, they cannot be compared with."""
        return bool(self.expected_B.isfinite().all()) and all(math.isfinite(norm) for _, norm in self.gradients)

    @property
    def nats(self) -> float:
        return float(self.difference_B.abs().max())

    @property
    def gradient(self) -> float:
        """The norm of the gradients' difference over all weights, as a share of the gradients' norm."""
        difference = math.hypot(*(difference for difference, _ in self.gradients))
        norm = math.hypot(*(norm for _, norm in self.gradients))
        return difference / norm if norm else difference

    def share_of(self, allowed: Within) -> float:
        """Returns the largest difference as a share of the allowed one; infinite if a number is not finite."""
        limit_B = allowed.absolute + allowed.relative * self.expected_B.abs()
        floor = allowed.floor * math.hypot(*(norm for _, norm in self.gradients))
        shares = [float((self.difference_B.abs() / limit_B).max())]
        shares += [difference / (allowed.gradient * norm + floor + 1e-30) for difference, norm in self.gradients]
        return max(share if math.isfinite(share) else math.inf for share in shares)

    def __str__(self) -> str:
        gradients = f", gradients by {100 * self.gradient:.2g} %" if self.gradients else ""
        return f"log-probs by {self.nats:.2g} nats{gradients}"


class SingleRows:
    """The log-probs and gradients of each row when it is read alone.

    The weights must act as float32 (see `weights_in_float32`). Activations are computed twice, so that this takes
    little memory in addition to the gradients.
    """

    def __init__(self, model: Any, batches: Sequence[Batch], weights: Sequence[nn.Parameter], *, chunked: bool) -> None:
        """Reads each row alone. `weights` are those whose gradients are compared; empty if nothing is trained."""
        self._batches, self._weights = batches, weights
        self._lp: list[Tensor] = []
        self._gradients: list[Tensor | None] = [None] * len(weights)
        alone = Reading(model, packed=False, chunked=chunked).recomputing()
        for own, others in batches:
            lp = [
                self._read(alone, alone.inputs([pair]), [factor], self._gradients)
                for pair, factor in zip(own, _factors(len(own)), strict=True)
            ]
            with torch.no_grad():
                lp += [alone.read([pair])[0].lp_B for pair in others]
            self._lp.append(torch.cat(lp))

    @property
    def finite(self) -> bool:
        """Returns whether all log-probs are finite."""
        return all(bool(lp_B.isfinite().all()) for lp_B in self._lp)

    def distance_of(self, reading: Reading, inputs: Sequence[Inputs]) -> Distance:
        """Compares `reading`, in float32; `inputs` are the batches prepared by it. Raises any error of the model."""
        gradients: list[Tensor | None] = [None] * len(self._weights)
        lp = [
            self._read(reading, prepared, _factors(len(own)), gradients)
            for prepared, (own, _) in zip(inputs, self._batches, strict=True)
        ]
        expected_B = torch.cat(self._lp)
        return Distance(
            torch.cat(lp) - expected_B,
            expected_B,
            [
                (_norm(gradient, expected), _norm(expected, None))
                for gradient, expected in zip(gradients, self._gradients, strict=True)
                if gradient is not None or expected is not None
            ],
        )

    def _read(
        self, reading: Reading, inputs: Inputs, factors: Sequence[float], gradients: list[Tensor | None]
    ) -> Tensor:
        """Returns lp of rows and mismatched pairs, and adds the gradients of this batch to `gradients`."""
        with torch.set_grad_enabled(bool(self._weights)):
            own, others = reading.forward(inputs)
        if own.lp_B.requires_grad:
            loss = (own.lp_B * own.lp_B.new_tensor(factors)).sum()
            by_weight = torch.autograd.grad(loss, self._weights, allow_unused=True)
            for number, gradient in enumerate(by_weight):
                if gradient is not None:
                    earlier = gradients[number]
                    gradients[number] = gradient if earlier is None else earlier + gradient
        return torch.cat([read.lp_B.detach() for read in (own, others) if read is not None])


def _factors(rows: int) -> list[float]:
    return [(-1) ** row * (1 + row / rows) for row in range(rows)]


def _norm(gradient: Tensor | None, other: Tensor | None) -> float:
    """Returns ‖gradient − other‖; None stands for a gradient of zeros."""
    if gradient is None or other is None:
        only = other if gradient is None else gradient
        return 0.0 if only is None else float(only.norm())
    return float((gradient - other).norm())
