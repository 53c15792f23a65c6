"""The learning rate as a function of the step alone, so there is no scheduler state to save."""

from math import ceil, cos, pi

from thumbwheel.wire.recipe import Recipe


def learning_rate_at(step: int, total_steps: int, recipe: Recipe) -> float:
    """Returns the learning rate at `step`, counted from 1.

    It rises over the warm-up to the recipe's rate, then falls towards 0 or stays. Neither the first step nor the last
    is wasted on a rate of 0.
    """
    peak = float(recipe.learning_rate)
    warmup = ceil(recipe.warmup_share * total_steps)
    if step <= warmup:
        return peak * step / warmup
    left = (total_steps - step + 1) / (total_steps - warmup)  # 1 at the first step after the warm-up
    if recipe.schedule == "linear":
        return peak * left
    if recipe.schedule == "cosine":
        return peak * 0.5 * (1 - cos(pi * left))
    return peak
