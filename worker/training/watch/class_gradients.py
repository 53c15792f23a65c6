"""Measures the pull of each class: the norm of its share of a micro-batch's gradient.

It is measured every `EVERY` steps on the first micro-batch of a step, before any gradient is held, so that it never
raises the peak of memory. The results of training stay the same to the last bit.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from worker.training.machine.ranks import Ranks
from worker.training.objectives import LogProbs, Losses

#: Optimizer steps between two measurements, each of which costs two more backward passes of one micro-batch.
EVERY = 25


def class_gradient_norms(
    losses: Losses, log_probs: LogProbs, weights: Sequence[nn.Parameter], ranks: Ranks
) -> tuple[float | None, float | None]:
    """Returns the gradient norms of desirable and of undesirable rows, per row of the micro-batch.

    The norm of an absent class is None.
    """
    desirable_B = log_probs.desirable_B
    counts = ranks.sum(torch.stack([desirable_B.sum(), (~desirable_B).sum()]).float()).tolist()
    norms: list[float | None] = []
    for class_B, count in ((desirable_B, counts[0]), (~desirable_B, counts[1])):
        norms.append(_norm(losses.loss_B[class_B].sum() / sum(counts), weights, ranks) if count else None)
    return norms[0], norms[1]


def _norm(loss: Tensor, weights: Sequence[nn.Parameter], ranks: Ranks) -> float:
    gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    squares = torch.zeros((), device=loss.device)
    for weight, gradient in zip(weights, gradients, strict=True):
        whole = ranks.sum(torch.zeros_like(weight) if gradient is None else gradient)
        squares = squares + whole.float().square().sum()
    return float(squares.sqrt())
