"""Figures of a scored holdout with bootstrap intervals. Pure numpy.

Legend: N rows, R resamples. Rows of one prompt are not independent, so a resample draws prompts, not rows. Every
statistic takes weights W_RN, the count of each row in each resample, and returns one value per resample, NaN if a class
is absent. A row's count is the number of times its prompt was drawn, times its own weight: weight 2 is the row twice.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Statistic = Callable[[Array], Array]

#: Largest number of weights in memory at once.
CELLS = 4_000_000


@dataclass(frozen=True)
class Bootstrap:
    """Percentile intervals over resampled prompts (Efron and Tibshirani 1993, chapter 13), the same draws each time."""

    groups_N: Array  # number of each row's prompt
    weight_N: Array  # of each row, over 0: rows that do not count must be left out, or their prompts would be drawn
    resamples: int
    confidence: float
    seed: int

    def interval(self, statistic: Statistic, reason: str) -> dict[str, Any]:
        """Returns {"value", "low", "high"}; all null, with `reason`, if the rows do not determine the value."""
        if len(self.groups_N) == 0:
            return {"value": None, "low": None, "high": None, "reason": "the holdout has no rows"}
        value = float(statistic(self.weight_N[None, :])[0])
        if not np.isfinite(value):
            return {"value": None, "low": None, "high": None, "reason": reason}
        drawn_R = np.concatenate([statistic(W_RN) for W_RN in self._draws()])
        tail = (1 - self.confidence) / 2
        low, high = np.nanquantile(drawn_R, [tail, 1 - tail])
        return {"value": value, "low": float(low), "high": float(high)}

    def _draws(self) -> Iterator[Array]:
        generator = np.random.default_rng(self.seed)
        count = int(self.groups_N.max()) + 1
        at_once = max(1, CELLS // len(self.groups_N))
        for start in range(0, self.resamples, at_once):
            size = min(at_once, self.resamples - start)
            drawn_RG = generator.multinomial(count, np.full(count, 1 / count), size=size)
            yield drawn_RG[:, self.groups_N] * self.weight_N


def group_numbers(keys: Sequence[bytes]) -> Array:
    """Returns a number for each key, from 0; equal keys have equal numbers."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


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
