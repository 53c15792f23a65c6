"""Measures of weighted rows: means, ratios, AUROC, margin, calibration, and their differences. Pure numpy.

A measure returns a statistic: a function from the weights W_RN, one line of weights per resample, to one value per
resample (R,), NaN where the rows do not determine it, for example because a class is absent. Statistics on the same
weights are paired: `difference` compares two models on the same draws.

Legend: N rows, R resamples, K bins.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Statistic = Callable[[Array], Array]


def auroc(score_N: Array, desirable_N: Array) -> Statistic:
    """Returns the share of (desirable, undesirable) pairs whose desirable row scores higher; a tie counts half."""
    order = np.argsort(score_N, kind="stable")
    ranked, desirable = score_N[order], desirable_N[order].astype(float)
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])  # of runs of equal scores

    def statistic(W_RN: Array) -> Array:
        up = np.add.reduceat(W_RN[:, order] * desirable, starts, axis=1)
        down = np.add.reduceat(W_RN[:, order] * (1 - desirable), starts, axis=1)
        won = (up * (np.cumsum(down, axis=1) - down / 2)).sum(1)
        return _ratio(won, up.sum(1) * down.sum(1))

    return statistic


def difference(left: Statistic, right: Statistic) -> Statistic:
    """Returns the paired difference of two statistics, both on the same draws."""
    return lambda W_RN: left(W_RN) - right(W_RN)


def constant(value: float) -> Statistic:
    return lambda W_RN: np.full(len(W_RN), value)


def mean(value_N: Array) -> Statistic:
    return lambda W_RN: _ratio(W_RN @ value_N, W_RN.sum(1))


def ratio_of_sums(upper_N: Array, lower_N: Array) -> Statistic:
    return lambda W_RN: _ratio(W_RN @ upper_N, W_RN @ lower_N)


def margin(reward_N: Array, desirable_N: Array) -> Statistic:
    """Returns the mean reward of the desirable rows minus that of the undesirable ones."""
    up, down = desirable_N.astype(float), 1 - desirable_N.astype(float)
    return difference(ratio_of_sums(reward_N * up, up), ratio_of_sums(reward_N * down, down))


def calibration_error(probability_N: Array, desirable_N: Array, bins: int = 10) -> Statistic:
    """Returns the expected calibration error, over bins of equal width.

    It is the sum over bins of the bin's share times |mean probability − share of desirable rows|.
    """
    bin_N = np.minimum((probability_N * bins).astype(int), bins - 1)
    member_NK = bin_N[:, None] == np.arange(bins)[None, :]
    gap_N = probability_N - desirable_N

    return lambda W_RN: _ratio(np.abs((W_RN * gap_N) @ member_NK).sum(1), W_RN.sum(1))


def _ratio(upper: Array, lower: Array) -> Array:
    """Returns upper / lower, or NaN where `lower` is 0."""
    safe = np.where(lower == 0, 1, lower)
    return np.where(lower == 0, np.nan, upper / safe)
