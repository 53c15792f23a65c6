"""SimPO: simple preference optimisation (Meng et al., NeurIPS 2024, arXiv 2405.14734, equation 6).

    L = −log σ(β (lp_π(y_w|x) / |y_w| − lp_π(y_l|x) / |y_l|) − γ)      w the chosen, l the rejected completion

There is no reference: the reward, including the logged one, is β times the mean log-prob. γ is `simpo_gamma`, the
margin in units of the reward, as in the paper and in TRL; HALOs' `gamma_beta_ratio` is γ/β. Shapes: B rows of a
micro-batch, P = B/2 pairs.
"""

import torch.nn.functional as F
from thumbwheel.wire.recipe import Recipe

from worker.training.objectives.signature import LogProbs, Losses, pair_weights, pairs


def simpo(log_probs: LogProbs, recipe: Recipe) -> Losses:
    """Returns w·L of each pair, (P,)."""
    reward_B = recipe.beta * log_probs.policy_B / log_probs.tokens_B
    chosen_P, rejected_P = pairs(reward_B)
    loss_P = -F.logsigmoid(chosen_P - rejected_P - recipe.simpo_gamma)
    zero = reward_B.new_zeros(())
    return Losses(pair_weights(log_probs) * loss_P, reward_B=reward_B.detach(), z0=zero, z0_raw=zero)
