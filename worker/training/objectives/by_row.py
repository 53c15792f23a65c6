"""Figures of each row of a micro-batch: its sign, its class's λ, the sum over its tokens.

Legend: B rows, N their completion tokens. `like_B` determines shape, dtype and device.
"""

import torch
from thumbwheel.wire.recipe import Recipe
from thumbwheel.wire.recipe_sections import LabelTerm
from torch import Tensor


def signs(desirable_B: Tensor, like_B: Tensor) -> Tensor:
    """Returns +1 for desirable and −1 for undesirable rows, (B,)."""
    return torch.full_like(like_B, -1).masked_fill(desirable_B, 1)


def lambdas(desirable_B: Tensor, settings: Recipe | LabelTerm, like_B: Tensor) -> Tensor:
    """Returns the resolved λ of each row's class, (B,)."""
    lambda_d, lambda_u = float(settings.lambda_desirable), float(settings.lambda_undesirable)
    return torch.full_like(like_B, lambda_u).masked_fill(desirable_B, lambda_d)


def token_sums(values_N: Tensor, row_N: Tensor, like_B: Tensor) -> Tensor:
    """Returns the sums over the tokens of each row, (B,), with gradient; 0 for a row without tokens."""
    return torch.zeros_like(like_B, dtype=values_N.dtype).index_add(0, row_N, values_N)
