"""KTO: Kahneman-Tversky optimisation (Ethayarajh et al., ICML 2024, arXiv 2402.01306, equations 7 and 8).

    r_i  = lp_π(y_i|x_i) − lp_ref(y_i|x_i)
    z0   = max(0, Σ_ranks Σ_i r'_i / Σ_ranks count)     r' with a mismatched completion y'; no gradient
    L_i  = λ_D · (1 − σ(β (r_i − z0)))                  desirable
    L_i  = λ_U · (1 − σ(β (z0 − r_i)))                  undesirable
    loss = Σ_i w_i L_i / rows of the optimizer step

The division by the step's rows is the loop's, so that accumulating micro-batches equals one large batch. z0 is an
estimate of how far the policy has gone, not a loss: row weights have no part in it.

What apo_zero_unpaired, tkto and mo_kto have in common with KTO, they take from here. Shapes: B rows of a micro-batch.
"""

import torch
from torch import Tensor

from app.runs.recipe import Recipe
from worker.training.objectives.by_row import lambdas, signs
from worker.training.objectives.signature import LogProbs, Losses


def kto(log_probs: LogProbs, recipe: Recipe) -> Losses:
    """w_i·L_i of each row, with gradient through lp_π alone."""
    r_B = log_probs.policy_B - log_probs.reference_B
    z0, z0_raw = reference_point(log_probs.policy_mismatched_B - log_probs.reference_mismatched_B, log_probs)
    lambda_B = lambdas(log_probs.desirable_B, recipe, r_B)
    loss_B = kto_losses(r_B, z0, recipe.beta, signs(log_probs.desirable_B, r_B), lambda_B)
    return Losses(loss_B=log_probs.weight_B * loss_B, reward_B=recipe.beta * r_B.detach(), z0=z0, z0_raw=z0_raw)


def kto_losses(r_B: Tensor, z0: Tensor, beta: float, sign_B: Tensor, lambda_B: Tensor) -> Tensor:
    """L_i = λ_i · (1 − σ(s_i·β·(r_i − z0))): both classes in one formula, so one class alone is no special case."""
    return lambda_B * torch.sigmoid(-sign_B * beta * (r_B - z0))  # 1 − σ(a) = σ(−a), without cancellation


def reference_point(mismatched_B: Tensor, log_probs: LogProbs) -> tuple[Tensor, Tensor]:
    """z0, and z0 before the clamp: the mean of r' over the rows of all ranks that have a partner, 0 where none has."""
    r_B = torch.where(log_probs.paired_B, mismatched_B.detach(), 0)
    total, count = log_probs.over_ranks(torch.stack([r_B.sum(), log_probs.paired_B.sum().to(r_B)])).unbind()
    z0_raw = total / count.clamp(min=1)
    return z0_raw.clamp(min=0), z0_raw
