"""The inputs and outputs of objectives.

Legend: B rows of one micro-batch, N their completion tokens, K labels. Log-probs are in nats and in float32 (float64 in
tests); those of a row are summed over its completion.

An objective is a function of a micro-batch; `OBJECTIVES` declares the inputs that it needs. Rows of a paired objective
are ordered chosen, rejected, chosen, rejected, …; such an objective returns one loss for each pair.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from thumbwheel.wire.recipe import Recipe
from torch import Tensor


@dataclass(frozen=True)
class TokenLogProbs:
    """The log-probs of a micro-batch's completions by token, row after row."""

    policy_N: Tensor
    reference_N: Tensor
    row_N: Tensor  # int64: index of the row in the micro-batch
    weight_N: Tensor  # 1 if the row has no weights


@dataclass(frozen=True)
class LogProbs:
    policy_B: Tensor  # lp_π(y|x), with gradient
    reference_B: Tensor  # lp_ref(y|x); zeros for an objective without a reference
    tokens_B: Tensor  # |y|: completion tokens, including the end token
    desirable_B: Tensor  # bool
    weight_B: Tensor  # row weights from the label policy
    policy_mismatched_B: Tensor  # lp_π(y'|x), without gradient; undefined without a partner
    reference_mismatched_B: Tensor  # lp_ref(y'|x)
    paired_B: Tensor  # bool: the row has a mismatched partner
    tokens: TokenLogProbs | None = None  # for objectives that use tokens
    mismatched_tokens: TokenLogProbs | None = None
    labels_BK: Tensor | None = None  # +1 desirable, −1 undesirable, 0 absent; in the order of recipe.labels
    running_2: Tensor | None = None  # sum and count of the rewards of all micro-batches before this one, float64
    #: Returns the sum over the ranks that share a micro-batch; the identity on a single rank.
    over_ranks: Callable[[Tensor], Tensor] = lambda sums: sums


@dataclass(frozen=True)
class Losses:
    """The losses and rewards of B rows, or of B/2 pairs."""

    loss_B: Tensor  # weighted; the loop sums it and divides by the rows (or pairs) of the optimizer step
    reward_B: Tensor  # β·r of each row, without gradient, or another reward that the objective defines
    z0: Tensor  # the reference point; 0 for objectives without one
    z0_raw: Tensor  # z0 before the clamp at 0
    running_2: Tensor | None = None  # of the micro-batches so far, including this one


@dataclass(frozen=True)
class Objective:
    """A loss and the inputs that it needs."""

    loss: Callable[[LogProbs, Recipe], Losses]
    data: Literal["rows", "desirable rows", "pairs"]
    reference: bool = True  # lp_ref of the rows
    mismatched: bool = False  # both log-probs of mismatched completions, for z0
    by_token: bool = False  # TokenLogProbs
    labels: bool = False
    running: bool = False


def pairs(values_B: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the values of chosen and of rejected rows, each (B/2,)."""
    return values_B[0::2], values_B[1::2]


def pair_weights(log_probs: LogProbs) -> Tensor:
    """Returns the smaller of a pair's two row weights, (B/2,): a pair is no more certain than its weaker half."""
    return torch.minimum(*pairs(log_probs.weight_B))
