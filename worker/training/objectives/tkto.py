"""Token-weighted KTO, after TKTO (Kotoge and Sasaki, ACL 2026, arXiv 2510.05799).

    r_i  = Σ_t ω_t (log π(y_t | x, y_<t) − log π_ref(y_t | x, y_<t))
    z0   = max(0, mean of r')       r' is r of mismatched completions with their own token weights; no gradient
    L_i  = KTO's, with this r and this z0

Weights express which part of a completion the judgement refers to: a token of weight 0 does not count. With all weights
1 this is KTO. The weights are those of the row's `spans`, as a user marked them, and 1 outside them.

Both halves differ from the paper. There the weights come from two contrastive models, trained by KTO on the labels and
on the swapped labels, as exp(μ · clamp(log π⁺/π⁻)); and the value function is applied to each token,
−Σ_t ω_t v(r_t, z0_t), which saturates tokens separately and does not become KTO with weights of 1. Shapes: B rows of a
micro-batch, N their tokens.
"""

from thumbwheel.wire.recipe import Recipe
from torch import Tensor

from worker.training.objectives.by_row import lambdas, signs, token_sums
from worker.training.objectives.kto import kto_losses, reference_point
from worker.training.objectives.signature import LogProbs, Losses, TokenLogProbs


def tkto(log_probs: LogProbs, recipe: Recipe) -> Losses:
    """Returns w_i·L_i, (B,), with gradient through the policy's log-probs of tokens."""
    assert log_probs.tokens is not None, "tkto needs its tokens"
    assert log_probs.mismatched_tokens is not None, "tkto needs the mismatched completions' tokens"
    r_B = weighted_log_ratios(log_probs.tokens, log_probs.policy_B)
    z0, z0_raw = reference_point(weighted_log_ratios(log_probs.mismatched_tokens, r_B), log_probs)
    lambda_B = lambdas(log_probs.desirable_B, recipe, r_B)
    loss_B = kto_losses(r_B, z0, recipe.beta, signs(log_probs.desirable_B, r_B), lambda_B)
    return Losses(loss_B=log_probs.weight_B * loss_B, reward_B=recipe.beta * r_B.detach(), z0=z0, z0_raw=z0_raw)


def weighted_log_ratios(tokens: TokenLogProbs, like_B: Tensor) -> Tensor:
    """Returns Σ_t ω_t (lp_π,t − lp_ref,t) of each row, (B,), in nats."""
    return token_sums(tokens.weight_N * (tokens.policy_N - tokens.reference_N), tokens.row_N, like_B)
