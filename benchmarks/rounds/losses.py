"""Losses that the trainer does not have, for the conditions that try them. A trial puts one in the place of KTO's.

Shapes: B rows of a micro-batch, N their completion tokens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import cast
from unittest.mock import patch

import torch
from thumbwheel.wire.recipe import Recipe

from benchmarks.rounds.conditions import Way
from worker.training.objectives import OBJECTIVES, LogProbs, Losses, Objective, TokenLogProbs
from worker.training.objectives.by_row import lambdas, signs, token_sums
from worker.training.objectives.kto import kto, kto_losses, reference_point
from worker.training.watch import guards


@contextmanager
def loss_of(way: Way) -> Iterator[None]:
    """Replaces KTO's loss by that of `way` while a training runs. The process must train nothing else."""
    own = OBJECTIVES["kto"]
    if way.anchor:
        own = replace(own, loss=lambda lp, recipe: anchored(lp, recipe, way.anchor))
    elif way.clip is not None:
        limit = way.clip
        own = replace(own, by_token=True, loss=lambda lp, recipe: clipped(lp, recipe, limit))
    # Before the first update KTO's losses are λ/2, which the trainer checks; these are not.
    with (
        patch.dict(cast("dict[str, Objective]", OBJECTIVES), kto=own),
        patch.object(
            guards, "HALF_LAMBDA_AT_FIRST", guards.HALF_LAMBDA_AT_FIRST - ({"kto"} if own.loss is not kto else set())
        ),
    ):
        yield


def anchored(log_probs: LogProbs, recipe: Recipe, weight: float) -> Losses:
    """Adds the mean token loss of desirable rows, as in RPO (arXiv 2404.19733) for pairs."""
    losses = kto(log_probs, recipe)
    nll_B = -log_probs.policy_B / log_probs.tokens_B * log_probs.desirable_B
    return replace(losses, loss_B=losses.loss_B + weight * log_probs.weight_B * nll_B)


def clipped(log_probs: LogProbs, recipe: Recipe, limit: float) -> Losses:
    """Clips each token's log-ratio, after Humanline (arXiv 2509.24207), without its renewal of the reference."""
    assert log_probs.tokens is not None
    assert log_probs.mismatched_tokens is not None
    own, other = log_probs.tokens, log_probs.mismatched_tokens

    def ratios(tokens: TokenLogProbs) -> torch.Tensor:
        clipped_N = (tokens.policy_N - tokens.reference_N).clamp(-limit, limit)
        return token_sums(clipped_N, tokens.row_N, log_probs.policy_B)

    r_B = ratios(own)
    z0, z0_raw = reference_point(ratios(other), log_probs)
    lambda_B = lambdas(log_probs.desirable_B, recipe, r_B)
    loss_B = kto_losses(r_B, z0, recipe.beta, signs(log_probs.desirable_B, r_B), lambda_B)
    return Losses(loss_B=log_probs.weight_B * loss_B, reward_B=recipe.beta * r_B.detach(), z0=z0, z0_raw=z0_raw)
