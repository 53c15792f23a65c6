"""DPO: direct preference optimisation (Rafailov et al., NeurIPS 2023, arXiv 2305.18290, equation 7).

    r = lp_π(y|x) − lp_ref(y|x)
    L = −log σ(β (r_w − r_l))       w the chosen, l the rejected completion of one prompt

Shapes: B rows of a micro-batch, P = B/2 pairs.
"""

import torch.nn.functional as F
from thumbwheel.wire.recipe import Recipe

from worker.training.objectives.signature import LogProbs, Losses, pair_weights, pairs


def dpo(log_probs: LogProbs, recipe: Recipe) -> Losses:
    """Returns w·L of each pair, (P,), with gradient through lp_π alone."""
    r_B = log_probs.policy_B - log_probs.reference_B
    chosen_P, rejected_P = pairs(r_B)
    loss_P = -F.logsigmoid(recipe.beta * (chosen_P - rejected_P))
    zero = r_B.new_zeros(())
    return Losses(pair_weights(log_probs) * loss_P, reward_B=recipe.beta * r_B.detach(), z0=zero, z0_raw=zero)
