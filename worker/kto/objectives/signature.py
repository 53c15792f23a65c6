"""What every objective takes and gives. B rows of one micro-batch; log-probs in nats, summed over a completion."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from app.runs.recipe import Recipe


@dataclass(frozen=True)
class LogProbs:
    policy_B: Tensor  # lp_π(y|x), with gradient
    reference_B: Tensor  # lp_ref(y|x)
    policy_mismatched_B: Tensor  # lp_π(y'|x), without gradient; anything where there is no partner
    reference_mismatched_B: Tensor  # lp_ref(y'|x)
    paired_B: Tensor  # bool: the row has a mismatched partner
    desirable_B: Tensor  # bool
    weight_B: Tensor  # row weights from the label policy


@dataclass(frozen=True)
class Losses:
    loss_B: Tensor  # weighted; the loop sums it and divides by the rows of the optimizer step
    reward_B: Tensor  # β·r, without gradient
    z0: Tensor  # the reference point that was used; 0 for objectives without one
    z0_raw: Tensor  # before the clamp at 0


Objective = Callable[[LogProbs, Recipe], Losses]
