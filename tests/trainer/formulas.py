"""Computes every objective a second time: in Python's floats, row by row, by the formulas of the papers.

Each function gives the weighted losses of the rows (or pairs) of a micro-batch.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from thumbwheel.wire.recipe import Recipe

from tests.trainer.judged import Judged

Rows = Sequence[Judged]


def sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a))


def lambda_of(row: Judged, recipe: Recipe) -> float:
    return float(recipe.lambda_desirable if row.desirable else recipe.lambda_undesirable)


def z0_of(mismatched: Sequence[float]) -> float:
    return max(0.0, sum(mismatched) / len(mismatched)) if mismatched else 0.0


def value_loss(r: float, z0: float, beta: float, desirable: bool) -> float:
    return 1 - sigmoid(beta * (r - z0)) if desirable else 1 - sigmoid(beta * (z0 - r))


def kto(rows: Rows, recipe: Recipe) -> list[float]:
    z0 = z0_of([row.mismatched.r for row in rows if row.mismatched])
    return [row.weight * lambda_of(row, recipe) * value_loss(row.own.r, z0, recipe.beta, row.desirable) for row in rows]


def tkto(rows: Rows, recipe: Recipe) -> list[float]:
    z0 = z0_of([row.mismatched.weighted_r for row in rows if row.mismatched])
    return [
        row.weight * lambda_of(row, recipe) * value_loss(row.own.weighted_r, z0, recipe.beta, row.desirable)
        for row in rows
    ]


def mo_kto(rows: Rows, recipe: Recipe) -> list[float]:
    z0 = z0_of([row.mismatched.r for row in rows if row.mismatched])
    losses = []
    for row in rows:
        loss = 0.0
        for term, label in zip(recipe.labels, row.labels, strict=True):
            if label != 0:
                lambda_k = term.lambda_desirable if label > 0 else term.lambda_undesirable
                loss += term.weight * lambda_k * value_loss(row.own.r, z0, recipe.beta, label > 0)
        losses.append(row.weight * loss)
    return losses


def apo_zero_unpaired(rows: Rows, recipe: Recipe) -> list[float]:
    losses = []
    for row in rows:
        likelier = sigmoid(recipe.beta * row.own.r)
        losses.append(row.weight * lambda_of(row, recipe) * (1 - likelier if row.desirable else likelier))
    return losses


def bco(rows: Rows, recipe: Recipe, running: tuple[float, float] = (0.0, 0.0)) -> list[float]:
    total = running[0] + sum(row.weight * recipe.beta * row.own.r for row in rows)
    delta = total / (running[1] + sum(row.weight for row in rows))
    losses = []
    for row in rows:
        lead = recipe.beta * row.own.r - delta
        losses.append(-row.weight * lambda_of(row, recipe) * math.log(sigmoid(lead if row.desirable else -lead)))
    return losses


def ppo_clip(rows: Rows, recipe: Recipe) -> list[float]:
    losses = []
    for row in rows:
        advantage = 1 if row.desirable else -1
        by_token = []
        for p, q in zip(row.own.policy, row.own.reference, strict=True):
            ratio = math.exp(p) / math.exp(q)
            clipped = min(max(ratio, 1 - recipe.clip_range), 1 + recipe.clip_range)
            by_token.append(-min(advantage * ratio, advantage * clipped))
        losses.append(row.weight * lambda_of(row, recipe) * sum(by_token) / len(by_token))
    return losses


def sft(rows: Rows, _recipe: Recipe) -> list[float]:
    return [-row.weight * row.own.lp / len(row.own.policy) for row in rows]


def pairwise(loss: Callable[[Judged, Judged, Recipe], float]) -> Callable[[Rows, Recipe], list[float]]:
    def losses(rows: Rows, recipe: Recipe) -> list[float]:
        pairs = zip(rows[0::2], rows[1::2], strict=True)
        return [min(w.weight, other.weight) * loss(w, other, recipe) for w, other in pairs]

    return losses


def dpo(chosen: Judged, rejected: Judged, recipe: Recipe) -> float:
    return -math.log(sigmoid(recipe.beta * (chosen.own.r - rejected.own.r)))


def ipo(chosen: Judged, rejected: Judged, recipe: Recipe) -> float:
    lead = chosen.own.r / len(chosen.own.policy) - rejected.own.r / len(rejected.own.policy)
    return (lead - 1 / (2 * recipe.beta)) ** 2


def slic(chosen: Judged, rejected: Judged, recipe: Recipe) -> float:
    return max(0.0, 1 - recipe.beta * (chosen.own.r - rejected.own.r))


def mean_lp(row: Judged) -> float:
    return row.own.lp / len(row.own.policy)


def simpo(chosen: Judged, rejected: Judged, recipe: Recipe) -> float:
    return -math.log(sigmoid(recipe.beta * (mean_lp(chosen) - mean_lp(rejected)) - recipe.simpo_gamma))


def orpo(chosen: Judged, rejected: Judged, recipe: Recipe) -> float:
    def odds(row: Judged) -> float:
        p = math.exp(mean_lp(row))
        return p / (1 - p)

    return -mean_lp(chosen) - recipe.beta * math.log(sigmoid(math.log(odds(chosen) / odds(rejected))))


LOSSES: Mapping[str, Callable[[Rows, Recipe], list[float]]] = {
    "kto": kto,
    "apo_zero_unpaired": apo_zero_unpaired,
    "bco": bco,
    "ppo_clip": ppo_clip,
    "tkto": tkto,
    "mo_kto": mo_kto,
    "sft": sft,
    "dpo": pairwise(dpo),
    "ipo": pairwise(ipo),
    "slic": pairwise(slic),
    "simpo": pairwise(simpo),
    "orpo": pairwise(orpo),
}
