"""SLiC: a hinge on the margin (Zhao et al., arXiv 2305.10425), with a reference as in RSO (Liu et al., ICLR 2024,
arXiv 2309.06657) and in TRL's loss `hinge`.

    r = lp_π(y|x) − lp_ref(y|x)
    L = max(0, 1 − β (r_w − r_l))       w the chosen, l the rejected completion of one prompt

Pairs with a lead of 1/β nats give no gradient. SLiC-HF itself, like HALOs, compares lp_π alone and restrains the policy
by a cross-entropy term instead of the reference. Shapes: B rows of a micro-batch, P = B/2 pairs.
"""

import torch
from thumbwheel.wire.recipe import Recipe

from worker.training.objectives.signature import LogProbs, Losses, pair_weights, pairs


def slic(log_probs: LogProbs, recipe: Recipe) -> Losses:
    """Returns w·L of each pair, (P,), with gradient through lp_π alone."""
    r_B = log_probs.policy_B - log_probs.reference_B
    chosen_P, rejected_P = pairs(r_B)
    loss_P = torch.relu(1 - recipe.beta * (chosen_P - rejected_P))
    zero = r_B.new_zeros(())
    return Losses(pair_weights(log_probs) * loss_P, reward_B=recipe.beta * r_B.detach(), z0=zero, z0_raw=zero)
