"""SFT: supervised fine-tuning on the desirable rows alone.

    L_i = −lp_π(y_i|x_i) / |y_i|

The loss is a mean over a completion's tokens, so that a row counts by its weight and not by its length. Peers (TRL,
HALOs) compute one mean over all tokens of a batch, in which a long completion counts for more; for completions of equal
length both are the same. There is no reference; the logged reward is the mean log-prob itself.
Shapes: B rows of a micro-batch.
"""

from thumbwheel.wire.recipe import Recipe

from worker.training.objectives.signature import LogProbs, Losses


def sft(log_probs: LogProbs, _recipe: Recipe) -> Losses:
    """Returns w_i·L_i, (B,)."""
    mean_B = log_probs.policy_B / log_probs.tokens_B
    zero = mean_B.new_zeros(())
    return Losses(loss_B=-log_probs.weight_B * mean_B, reward_B=mean_B.detach(), z0=zero, z0_raw=zero)
