"""BCO: binary classifier optimisation (Jung et al., ACL 2025, arXiv 2404.04656), with its reward shift δ.

    reward_i = β (lp_π(y_i|x_i) − lp_ref(y_i|x_i))
    δ        = Σ w_j reward_j / Σ w_j           over all rows so far, those of this micro-batch included; no gradient
    L_i      = −λ_D · log σ(reward_i − δ)       desirable
    L_i      = −λ_U · log σ(δ − reward_i)       undesirable

It is a classifier of good and bad rows whose logit is the reward. With λ = 1 this is the paper's formula; λ weighs the
classes as in KTO. Unlike KTO's, the loss grows without bound for a row on the wrong side, so one wrong label can have a
large effect.

`running_2` holds the sum and the count of δ in float64: a row's share of a sum over millions of rows would vanish in
float32. It is returned, saved with the state, and summed over ranks, so that δ is the same on each. Peers (TRL up to
1.9) count each micro-batch once, whatever its size, and without weights; with equal sizes and weights that is the same
mean. The paper's second idea, weights by the probability under a classifier that a row's prompt occurs in the other
class, is left out: it needs a second model. Shapes: B rows of a micro-batch.
"""

import torch
import torch.nn.functional as F
from thumbwheel.wire.recipe import Recipe

from worker.training.objectives.by_row import lambdas, signs
from worker.training.objectives.signature import LogProbs, Losses


def bco(log_probs: LogProbs, recipe: Recipe) -> Losses:
    """Returns w_i·L_i, (B,), with gradient through lp_π alone; δ is running_2[0] / running_2[1]."""
    assert log_probs.running_2 is not None, "bco needs the rewards so far"
    r_B = log_probs.policy_B - log_probs.reference_B
    reward_B = recipe.beta * r_B.detach()
    weight_B = log_probs.weight_B.double()
    running_2 = log_probs.running_2 + log_probs.over_ranks(torch.stack([(weight_B * reward_B).sum(), weight_B.sum()]))
    delta = running_2[0] / running_2[1].clamp(min=torch.finfo(torch.float64).tiny)  # 0 while all weights were 0

    lambda_B = lambdas(log_probs.desirable_B, recipe, r_B)
    loss_B = -lambda_B * F.logsigmoid(signs(log_probs.desirable_B, r_B) * (recipe.beta * r_B - delta.to(r_B)))
    zero = r_B.new_zeros(())
    return Losses(log_probs.weight_B * loss_B, reward_B, z0=zero, z0_raw=zero, running_2=running_2)
