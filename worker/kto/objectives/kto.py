"""KTO: Kahneman-Tversky optimisation (Ethayarajh et al., ICML 2024, arXiv 2402.01306, equations 7 and 8).

    r_i  = lp_π(y_i|x_i) − lp_ref(y_i|x_i)
    z0   = max(0, Σ_i r'_i / count)                 r' with a mismatched completion y'; no gradient
    L_i  = λ_D · (1 − σ(β (r_i − z0)))              desirable
    L_i  = λ_U · (1 − σ(β (z0 − r_i)))              undesirable
    loss = Σ_i w_i L_i / rows of the optimizer step

The division by the step's rows is the loop's, so that accumulating micro-batches equals one large batch.
"""

import torch

from app.runs.recipe import Recipe
from worker.kto.objectives.signature import LogProbs, Losses


def kto(log_probs: LogProbs, recipe: Recipe) -> Losses:
    """w_i·L_i of each row, with gradient through lp_π alone.

    Both classes go through one formula: with s = +1 or −1, L = λ · (1 − σ(s·β·(r − z0))). A batch of one class is no
    special case. Where no row has a partner z0 is 0.
    """
    r_B = log_probs.policy_B - log_probs.reference_B
    mismatched_B = (log_probs.policy_mismatched_B - log_probs.reference_mismatched_B).detach()
    z0_raw = (mismatched_B * log_probs.paired_B).sum() / log_probs.paired_B.sum().clamp(min=1)
    z0 = z0_raw.clamp(min=0)

    sign_B = torch.where(log_probs.desirable_B, torch.full_like(r_B, 1), torch.full_like(r_B, -1))
    lambda_d_B = torch.full_like(r_B, float(recipe.lambda_desirable))
    lambda_u_B = torch.full_like(r_B, float(recipe.lambda_undesirable))
    lambda_B = torch.where(log_probs.desirable_B, lambda_d_B, lambda_u_B)
    loss_B = lambda_B * torch.sigmoid(-sign_B * recipe.beta * (r_B - z0))  # 1 − σ(a) = σ(−a), without cancellation
    return Losses(loss_B=log_probs.weight_B * loss_B, reward_B=recipe.beta * r_B.detach(), z0=z0, z0_raw=z0_raw)
