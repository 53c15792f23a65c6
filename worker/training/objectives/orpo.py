"""ORPO: odds ratio preference optimisation (Hong et al., EMNLP 2024, arXiv 2403.07691, equations 4, 6 and 7).

    m        = lp_π(y|x) / |y|
    log-odds = log(p / (1 − p)) = m − log(1 − e^m)          p = e^m
    L        = −m_w − β · log σ(log-odds_w − log-odds_l)    w the chosen, l the rejected completion of one prompt

One loss combines fine-tuning on the chosen completion with a push away from the rejected one, without a reference. β is
the paper's λ; the logged reward is β·m. TRL's negative log-likelihood covers prompt and completion, in one mean over
all tokens of a batch; here, as for every objective, prompt tokens never count and each pair counts by its weight.
Shapes: B rows of a micro-batch, P = B/2 pairs.
"""

import torch
import torch.nn.functional as F
from thumbwheel.wire.recipe import Recipe
from torch import Tensor

from worker.training.objectives.signature import LogProbs, Losses, pair_weights, pairs


def orpo(log_probs: LogProbs, recipe: Recipe) -> Losses:
    """Returns w·L of each pair, (P,)."""
    mean_B = log_probs.policy_B / log_probs.tokens_B
    chosen_P, _ = pairs(mean_B)
    chosen_odds_P, rejected_odds_P = pairs(log_odds(mean_B))
    loss_P = -chosen_P - recipe.beta * F.logsigmoid(chosen_odds_P - rejected_odds_P)
    zero = mean_B.new_zeros(())
    return Losses(pair_weights(log_probs) * loss_P, reward_B=recipe.beta * mean_B.detach(), z0=zero, z0_raw=zero)


def log_odds(mean_B: Tensor) -> Tensor:
    """Returns the log-odds m − log(1 − e^m), (B,).

    1 − e^m = −expm1(m) is exact for p near 1; elsewhere its rounding is negligible compared with m. A completion of
    which the model is certain (m = 0) would have infinite odds, so p stays one rounding step below 1.
    """
    certain = -torch.finfo(mean_B.dtype).eps
    mean_B = mean_B.clamp(max=certain)
    return mean_B - torch.log(-torch.expm1(mean_B))
