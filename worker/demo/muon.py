"""Muon in float32 (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024).

`torch.optim.Muon` orthogonalises updates in bfloat16, which processors without such arithmetic emulate: there it took
most of the time of a small model's training.
"""

from collections.abc import Callable, Iterable
from math import sqrt
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
#: Coefficients and number of the Newton-Schulz iterations.
A, B, C = 3.4445, -4.7750, 2.0315
ITERATIONS = 5
EPSILON = 1e-7


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose updates are orthogonalised. All weights must be matrices."""

    def __init__(self, weights: Iterable[Tensor], lr: float) -> None:
        super().__init__(weights, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        assert closure is None, "a closure is not supported"
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
                update = orthogonalised(weight.grad.lerp(momentum, MOMENTUM))
                rows, columns = weight.shape
                weight.add_(update, alpha=-group["lr"] * sqrt(max(1, rows / columns)))


def orthogonalised(matrix: Tensor) -> Tensor:
    """Returns about U·Vᵀ of the singular value decomposition U·S·Vᵀ: the singular values become 0.7 to 1.2."""
    rows, columns = matrix.shape
    x = matrix.T if rows > columns else matrix
    x = x / x.norm().clamp(min=EPSILON)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=B, alpha=C), x, beta=A)
    return x.T if rows > columns else x
