"""KTO of several labels at once: a row is judged by each of K criteria, for example helpful and honest.

    L_i = Σ_k ω_k · KTO(label_ik; λ_D,k, λ_U,k)       r_i and z0 as in KTO, shared by all labels

ω and both λ of a label are those of `recipe.labels`; the ω are not normalised. A label that a row does not have (0)
contributes nothing. The row's overall label is used only for logged figures, not in the loss. With one label of weight
1 on every row this is KTO, and the loss is linear in ω. The source is this project's specification, not a paper.
Shapes: B rows of a micro-batch, K labels.
"""

import torch
from thumbwheel.wire.recipe import Recipe

from worker.training.objectives.by_row import lambdas
from worker.training.objectives.kto import kto_losses, reference_point
from worker.training.objectives.signature import LogProbs, Losses


def mo_kto(log_probs: LogProbs, recipe: Recipe) -> Losses:
    """Returns w_i·L_i, (B,), with gradient through lp_π alone."""
    assert log_probs.labels_BK is not None, "mo_kto needs the labels of its rows"
    r_B = log_probs.policy_B - log_probs.reference_B
    z0, z0_raw = reference_point(log_probs.policy_mismatched_B - log_probs.reference_mismatched_B, log_probs)
    loss_B = torch.zeros_like(r_B)
    for label, label_B in zip(recipe.labels, log_probs.labels_BK.to(r_B).unbind(1), strict=True):
        lambda_B = lambdas(label_B > 0, label, r_B) * label_B.abs()
        loss_B = loss_B + label.weight * kto_losses(r_B, z0, recipe.beta, label_B, lambda_B)
    return Losses(loss_B=log_probs.weight_B * loss_B, reward_B=recipe.beta * r_B.detach(), z0=z0, z0_raw=z0_raw)
