"""The optimizer: AdamW over float32 weights, with weight decay on matrices alone."""

from collections.abc import Mapping

import torch
from thumbwheel.wire.recipe import Recipe
from torch import nn


def adamw(weights: Mapping[str, nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    """Returns AdamW with the recipe's settings; it updates each weight in one pass."""
    return torch.optim.AdamW(
        [
            {"params": [w for w in weights.values() if w.ndim >= 2], "weight_decay": recipe.weight_decay},
            {"params": [w for w in weights.values() if w.ndim < 2], "weight_decay": 0.0},
        ],
        lr=float(recipe.learning_rate),
        betas=(recipe.adam_beta1, recipe.adam_beta2),
        eps=recipe.adam_epsilon,
        fused=True,
    )
