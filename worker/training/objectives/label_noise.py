"""The correction of a loss for labels that are wrong (Natarajan et al., NIPS 2013, lemma 1).

Over the votes that people might have given, its mean is the loss of the true label:

    l̃(y) = ((1 − ρ_other) l(y) − ρ_own l(other)) / (1 − ρ_good − ρ_bad)

ρ_own is the share of the completions of the class that y names which get the other label, ρ_other that of the other
class. Shapes: B rows of a micro-batch.
"""

import torch
from thumbwheel.wire.recipe import Recipe
from torch import Tensor


def corrects(recipe: Recipe) -> bool:
    """Returns whether the recipe names any share of wrong labels."""
    return bool(recipe.mislabelled_good or recipe.mislabelled_bad)


def corrected(as_labelled_B: Tensor, as_other_B: Tensor, desirable_B: Tensor, recipe: Recipe) -> Tensor:
    """Returns l̃ of each row, (B,), which may be negative.

    as_labelled_B  the row's loss with its own label
    as_other_B     its loss with the other one
    """
    good, bad = recipe.mislabelled_good, recipe.mislabelled_bad
    own_B = torch.full_like(as_labelled_B, bad).masked_fill(desirable_B, good)
    other_B = torch.full_like(as_labelled_B, good).masked_fill(desirable_B, bad)
    return ((1 - other_B) * as_labelled_B - own_B * as_other_B) / (1 - good - bad)
