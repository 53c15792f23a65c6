"""Desirable and undesirable as numbers, by row: [B], in dtype and on the device of `like`."""

import torch
from torch import Tensor


def signs(desirable_B: Tensor, like: Tensor) -> Tensor:
    """+1 for desirable, −1 for undesirable."""
    return lambdas(desirable_B, 1, -1, like)


def lambdas(desirable_B: Tensor, desirable: float, undesirable: float, like: Tensor) -> Tensor:
    """λ of each row's class."""
    return torch.full_like(like, undesirable).masked_fill(desirable_B, desirable)
