"""What each row of a micro-batch is given: its sign, its class's λ, the sum over its tokens.

Legend: B rows, N their completion tokens. `like` gives shape, dtype and device.
"""

import torch
from torch import Tensor

from app.runs.recipe import LabelTerm, Recipe


def signs(desirable_B: Tensor, like_B: Tensor) -> Tensor:
    """+1 for desirable, −1 for undesirable."""
    return torch.full_like(like_B, -1).masked_fill(desirable_B, 1)


def lambdas(desirable_B: Tensor, given: Recipe | LabelTerm, like_B: Tensor) -> Tensor:
    """λ of each row's class, resolved."""
    lambda_d, lambda_u = float(given.lambda_desirable), float(given.lambda_undesirable)
    return torch.full_like(like_B, lambda_u).masked_fill(desirable_B, lambda_d)


def token_sums(values_N: Tensor, row_N: Tensor, like_B: Tensor) -> Tensor:
    """Sum over the tokens of each row, with gradient; 0 for a row without tokens."""
    return torch.zeros_like(like_B, dtype=values_N.dtype).index_add(0, row_N, values_N)
