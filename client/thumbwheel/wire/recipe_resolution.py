"""Replaces the ``auto`` of a recipe by numbers, which the rows of a run decide.

Pure: values in, values out.
"""

from math import sqrt
from typing import Any

from thumbwheel.wire.recipe import WITHOUT_LAMBDA, Recipe, WeighUp

#: λ_D·n_D / (λ_U·n_U) has to land in this band (KTO paper v1, section 4.2, and TRL's documentation).
BALANCE_BAND = (1.0, 4 / 3)

LEARNING_RATE_BY_METHOD = {"full": 1e-6, "lora": 1e-5}


def balanced_lambdas(weight_desirable: float, weight_undesirable: float, weigh_up: WeighUp) -> tuple[float, float]:
    """Returns λ_D and λ_U that put λ_D·n_D / (λ_U·n_U) on the geometric middle of `BALANCE_BAND`; the smaller one is 1.

    n_D and n_U are the summed row weights of each class, both over 0. Both λ are 1 if the undesirable class would be
    weighed up and must not be.
    """
    target = sqrt(BALANCE_BAND[0] * BALANCE_BAND[1])
    ratio = target * weight_undesirable / weight_desirable
    if ratio >= 1:
        return ratio, 1.0
    return (1.0, 1 / ratio) if weigh_up == "either" else (1.0, 1.0)


def resolve(recipe: Recipe, weight_desirable: float, weight_undesirable: float) -> Recipe:
    """Replaces every ``auto`` that the rows decide.

    λ is 1 in batch mode, where the steps are even already (never both at once unasked), and where an objective has no
    classes to weigh.
    """
    changes: dict[str, Any] = {}
    if recipe.learning_rate == "auto":
        changes["learning_rate"] = LEARNING_RATE_BY_METHOD[recipe.method]
    given_d, given_u = recipe.lambda_desirable, recipe.lambda_undesirable
    if recipe.balance == "batch" or recipe.objective in WITHOUT_LAMBDA:
        changes["lambda_desirable"] = 1.0 if given_d == "auto" else given_d
        changes["lambda_undesirable"] = 1.0 if given_u == "auto" else given_u
    elif given_d == "auto" and given_u == "auto":
        changes["lambda_desirable"], changes["lambda_undesirable"] = balanced_lambdas(
            weight_desirable, weight_undesirable, recipe.weigh_up
        )
    elif given_d == "auto":
        middle = sqrt(BALANCE_BAND[0] * BALANCE_BAND[1])
        balanced = middle * float(given_u) * weight_undesirable / weight_desirable
        changes["lambda_desirable"] = balanced if recipe.weigh_up == "either" else max(balanced, float(given_u))
    elif given_u == "auto":
        middle = sqrt(BALANCE_BAND[0] * BALANCE_BAND[1])
        balanced = float(given_d) * weight_desirable / (middle * weight_undesirable)
        changes["lambda_undesirable"] = balanced if recipe.weigh_up == "either" else min(balanced, float(given_d))
    return recipe.model_copy(update=changes)
