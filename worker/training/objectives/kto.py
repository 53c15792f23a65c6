"""KTO: Kahneman-Tversky optimisation (Ethayarajh et al., ICML 2024, arXiv 2402.01306, equations 7 and 8).

    r_i  = lp_π(y_i|x_i) − lp_ref(y_i|x_i)
    z0   = max(0, Σ_ranks Σ_i r'_i / Σ_ranks count)     r' with a mismatched completion y'; no gradient
    L_i  = λ_D · (1 − σ(β (r_i − z0)))                  desirable
    L_i  = λ_U · (1 − σ(β (z0 − r_i)))                  undesirable
    loss = Σ_i w_i L_i / rows of the optimizer step

With shares of wrong labels in the recipe, `objectives.label_noise` corrects L_i for them.

The training loop divides by the step's rows, so that accumulated micro-batches equal one large batch. z0 is an estimate
of the policy's drift, not a loss, so it does not depend on row weights.

apo_zero_unpaired, tkto and mo_kto import the parts that they share with KTO. Shapes: B rows of a micro-batch.
"""

import torch
from thumbwheel.wire.recipe import Recipe
from torch import Tensor

from worker.training.objectives.by_row import lambdas, signs
from worker.training.objectives.label_noise import corrected, corrects
from worker.training.objectives.signature import LogProbs, Losses


def kto(log_probs: LogProbs, recipe: Recipe) -> Losses:
    """Returns w_i·L_i, (B,), with gradient through lp_π alone."""
    r_B = log_probs.policy_B - log_probs.reference_B
    z0, z0_raw = reference_point(log_probs.policy_mismatched_B - log_probs.reference_mismatched_B, log_probs)

    def loss(desirable_B: Tensor) -> Tensor:
        sign_B, lambda_B = signs(desirable_B, r_B), lambdas(desirable_B, recipe, r_B)
        return kto_losses(r_B, z0, recipe.beta, sign_B, lambda_B)

    loss_B = loss(log_probs.desirable_B)
    if corrects(recipe):
        loss_B = corrected(loss_B, loss(~log_probs.desirable_B), log_probs.desirable_B, recipe)
    return Losses(loss_B=log_probs.weight_B * loss_B, reward_B=recipe.beta * r_B.detach(), z0=z0, z0_raw=z0_raw)


def kto_losses(r_B: Tensor, z0: Tensor, beta: float, sign_B: Tensor, lambda_B: Tensor) -> Tensor:
    """Returns L_i = λ_i · (1 − σ(s_i·β·(r_i − z0))), (B,).

    One formula covers both classes, so a batch of a single class is no special case.
    """
    return lambda_B * torch.sigmoid(-sign_B * beta * (r_B - z0))  # 1 − σ(a) = σ(−a), without cancellation


def reference_point(mismatched_B: Tensor, log_probs: LogProbs) -> tuple[Tensor, Tensor]:
    """Returns z0 after and before the clamp.

    It is the mean of r' over the rows of all ranks that have a partner, or 0 if none has.
    """
    r_B = torch.where(log_probs.paired_B, mismatched_B.detach(), 0)
    total, count = log_probs.over_ranks(torch.stack([r_B.sum(), log_probs.paired_B.sum().to(r_B)])).unbind()
    z0_raw = total / count.clamp(min=1)
    return z0_raw.clamp(min=0), z0_raw
