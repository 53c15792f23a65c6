"""APO-zero without pairs: anchored preference optimisation (D'Oosterlinck et al., TACL 2025, arXiv 2408.06266,
equation 7), each half of it applied to the rows of its class.

    r_i = lp_π(y_i|x_i) − lp_ref(y_i|x_i)
    L_i = λ_D · (1 − σ(β r_i))      desirable
    L_i = λ_U · σ(β r_i)            undesirable

It is KTO with a reference point fixed at 0: desirable rows become likelier than under the reference and undesirable
ones less likely, however far the policy has drifted. It therefore needs no mismatched completions. It is meant for
data whose desirable completions are better than the model's own. Shapes: B rows of a micro-batch.
"""

from thumbwheel.wire.recipe import Recipe

from worker.training.objectives.by_row import lambdas, signs
from worker.training.objectives.kto import kto_losses
from worker.training.objectives.signature import LogProbs, Losses


def apo_zero_unpaired(log_probs: LogProbs, recipe: Recipe) -> Losses:
    """Returns w_i·L_i, (B,), with gradient through lp_π alone."""
    r_B = log_probs.policy_B - log_probs.reference_B
    zero = r_B.new_zeros(())
    lambda_B = lambdas(log_probs.desirable_B, recipe, r_B)
    loss_B = kto_losses(r_B, zero, recipe.beta, signs(log_probs.desirable_B, r_B), lambda_B)
    return Losses(loss_B=log_probs.weight_B * loss_B, reward_B=recipe.beta * r_B.detach(), z0=zero, z0_raw=zero)
