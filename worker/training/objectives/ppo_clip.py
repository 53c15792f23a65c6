"""Offline PPO with rewards of ±1, a baseline of KTO's paper (arXiv 2402.01306; HALOs, its authors' code).

It uses PPO's clipped ratio (Schulman et al., arXiv 1707.06347, equation 7).

    q_t = π(y_t | x, y_<t) / π_ref(y_t | x, y_<t)
    A   = +1 desirable, −1 undesirable
    L_i = λ_i · mean_t max(−A q_t, −A clip(q_t, 1 − ε, 1 + ε))

Offline means that the rows are fixed; the reference stands for the policy that wrote them. A token whose ratio has
moved by ε in the right direction gives no more gradient; in the wrong direction it is always pulled back.

HALOs adds a value head with generalised advantage estimation, advantages normalised over the batch, and a KL penalty.
There is no critic here: with one reward at the end of a row and no discount, ±1 is the advantage of each of its tokens
over a baseline of 0. λ balances the classes, which HALOs leaves to its normalisation. The mean is over a row's tokens,
HALOs' over the batch's. ε is `clip_range`; β is not part of the loss, it scales the logged reward β·r.
Shapes: B rows of a micro-batch, N their tokens.
"""

import torch
from thumbwheel.wire.recipe import Recipe

from worker.training.objectives.by_row import lambdas, signs, token_sums
from worker.training.objectives.signature import LogProbs, Losses

#: Nats. Ratios are clamped here, at 5e8, without gradient beyond: e^89 would be infinite in float32, and 0·∞ is NaN.
LARGEST_LOG_RATIO = 20.0


def ppo_clip(log_probs: LogProbs, recipe: Recipe) -> Losses:
    """Returns w_i·L_i, (B,), with gradient through the policy's log-probs of tokens."""
    tokens = log_probs.tokens
    assert tokens is not None, "ppo_clip needs its tokens"
    r_N = tokens.policy_N - tokens.reference_N
    ratio_N = r_N.clamp(max=LARGEST_LOG_RATIO).exp()
    clipped_N = ratio_N.clamp(1 - recipe.clip_range, 1 + recipe.clip_range)
    r_B = token_sums(r_N, tokens.row_N, log_probs.policy_B)
    advantage_B = signs(log_probs.desirable_B, r_B)
    advantage_N = advantage_B[tokens.row_N]
    loss_N = torch.maximum(-advantage_N * ratio_N, -advantage_N * clipped_N)
    mean_B = token_sums(loss_N, tokens.row_N, r_B) / log_probs.tokens_B

    lambda_B = lambdas(log_probs.desirable_B, recipe, r_B)
    zero = r_B.new_zeros(())
    return Losses(log_probs.weight_B * lambda_B * mean_B, recipe.beta * r_B.detach(), z0=zero, z0_raw=zero)
