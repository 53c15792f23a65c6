"""IPO: identity preference optimisation (Azar et al., AISTATS 2024, arXiv 2310.12036, equation 17; β is its τ).

    r = lp_π(y|x) − lp_ref(y|x)
    L = (r_w / |y_w| − r_l / |y_l| − 1 / (2β))²     w the chosen, l the rejected completion of one prompt

The margin has a target instead of growing without end. The division by the lengths is not in the paper; TRL has it
from the paper's authors, whose results were obtained with it. The logged reward is β·r, undivided, as for the other
objectives with a reference. Shapes: B rows of a micro-batch, P = B/2 pairs.
"""

from thumbwheel.wire.recipe import Recipe

from worker.training.objectives.signature import LogProbs, Losses, pair_weights, pairs


def ipo(log_probs: LogProbs, recipe: Recipe) -> Losses:
    """Returns w·L of each pair, (P,), with gradient through lp_π alone."""
    r_B = log_probs.policy_B - log_probs.reference_B
    chosen_P, rejected_P = pairs(r_B / log_probs.tokens_B)
    loss_P = (chosen_P - rejected_P - 1 / (2 * recipe.beta)).square()
    zero = r_B.new_zeros(())
    return Losses(pair_weights(log_probs) * loss_P, reward_B=recipe.beta * r_B.detach(), z0=zero, z0_raw=zero)
