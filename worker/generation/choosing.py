"""Chooses next tokens: the most probable one, or one drawn at a temperature from the model's own distribution.

Each row has random numbers of its own, made from a seed and the number of its stream: its tokens depend neither on the
rows beside it nor on the order of the rows, except through rounding in the model.

Legend: B rows, V vocabulary.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def uniforms_of(seed: int, stream: int, count: int) -> NDArray[np.float64]:
    """Returns the random numbers of a row, one for each token, from 0 up to 1."""
    return np.random.default_rng([seed, stream]).random(count)


def choose(logits_BV: Tensor, temperature_B: Tensor, uniform_B: Tensor) -> Tensor:
    """Returns a token for each row, (B,): the most probable one where the temperature is 0, otherwise a drawn one.

    A drawn token is the first whose cumulative probability exceeds the row's random number. The sums are in float64: a
    GPU may add in another order each time, which then moves a bound between tokens by about 1e-16. Logits that are not
    finite are replaced by finite ones: the log-probs of the completion will show the fault.
    """
    logits_BV = torch.nan_to_num(logits_BV.float())
    greedy_B = logits_BV.argmax(-1)
    drawn_B = temperature_B > 0
    if not bool(drawn_B.any()):
        return greedy_B
    divisor_B = torch.where(drawn_B, temperature_B, torch.ones_like(temperature_B))
    cumulative_BV = (logits_BV / divisor_B[:, None]).softmax(-1).double().cumsum(-1)
    threshold_B = uniform_B * cumulative_BV[:, -1]
    token_B = torch.searchsorted(cumulative_BV, threshold_B[:, None], right=True)[:, 0]
    return torch.where(drawn_B, token_B.clamp(max=logits_BV.shape[-1] - 1), greedy_B)


def log_prob(logits_BV: Tensor, token_B: Tensor) -> Tensor:
    """Returns the log-prob of each token at temperature 1, (B,), in nats."""
    return logits_BV.float().log_softmax(-1).gather(-1, token_B[:, None])[:, 0]
