"""Confidence sequences: intervals that hold at all times at once, so a live comparison may be read after every value.

An ordinary 95 % interval errs in 5 % of its readings, and sooner or later in nearly every experiment that is read again
and again. A confidence sequence errs *at any time, ever*, in at most alpha of all experiments. So a comparison may stop
as soon as its sequence decides, and may go on for as long as it does not.

    MeanSequence                    the mean of values in [0, 1], updated value by value; narrow if they vary little
    DifferenceSequence              the difference of two arms' means, updated block by block
    share_at_any_time               a share from its two counts alone, without a state
    share_difference_at_any_time    the difference of two shares from their counts alone

All of them assume that the expectation of each value, given all earlier ones, is what is estimated. Votes of one
person, or on one completion, depend on each other: make one value of them. Which arm a request gets, and when a block
ends, must not depend on values.
"""

from dataclasses import dataclass, field, replace
from math import lgamma, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: One value, or an array (S,) of the values of S sequences that are updated together.
Values = float | NDArray[Any]


@dataclass(frozen=True)
class MeanSequence:
    """The empirical-Bernstein confidence sequence of the mean of values in [0, 1].

    Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86, 2024, theorem 2
    (arXiv 2010.09686). With L = log(2/α) and all sums up to t:

        μ̂_t = (½ + Σ x_i)/(t + 1)
        σ̂²_t = (¼ + Σ (x_i − μ̂_i)²)/(t + 1)
        λ_t = min(√(2L / (σ̂²_{t−1} · t · log(1 + t))), ½)                  set before x_t is seen
        ψ(λ) = −log(1 − λ) − λ
        low_t, high_t = (Σ λ_i·x_i ∓ (L + Σ (x_i − μ̂_{i−1})²·ψ(λ_i))) / Σ λ_i

    exp(Σ λ_i·(x_i − μ) − (x_i − μ̂_{i−1})²·ψ(λ_i)) is a nonnegative supermartingale that starts at 1, so it ever reaches
    2/α with probability α/2 at most (Ville 1939); the other bound is the same for 1 − x.

    The width shrinks like σ·√(log t / t), up to a factor of log log t. If the mean drifts, the sequence covers the mean
    of the expectations, weighted by λ_i. The state is six numbers; an update costs the same at any t.
    """

    alpha: float = 0.05
    count: int = 0
    total: Values = 0.0  # Σ x_i
    squares: Values = 0.0  # Σ (x_i − μ̂_i)²
    weight: Values = 0.0  # Σ λ_i
    weighted: Values = 0.0  # Σ λ_i·x_i
    penalty: Values = 0.0  # Σ (x_i − μ̂_{i−1})²·ψ(λ_i)

    def __post_init__(self) -> None:
        _require_error_rate(self.alpha)

    def after(self, value: Values) -> "MeanSequence":
        """Returns the sequence with one more value. Raises ValueError if it is NaN or outside [0, 1]."""
        if not np.all((value >= 0) & (value <= 1)):
            raise ValueError(f"expected values in [0, 1], got {value}")
        count, total = self.count + 1, self.total + value
        mean_before, mean_after = (0.5 + self.total) / count, (0.5 + total) / (count + 1)
        variance = (0.25 + self.squares) / count
        weight = np.minimum(np.sqrt(2 * log(2 / self.alpha) / (variance * count * np.log1p(count))), 0.5)
        return replace(
            self,
            count=count,
            total=total,
            squares=self.squares + (value - mean_after) ** 2,
            weight=self.weight + weight,
            weighted=self.weighted + weight * value,
            penalty=self.penalty - (value - mean_before) ** 2 * (np.log1p(-weight) + weight),
        )

    @property
    def low(self) -> Values:
        return np.maximum((self.weighted - self._half) / self.weight, 0.0) if self.count else 0.0

    @property
    def high(self) -> Values:
        return np.minimum((self.weighted + self._half) / self.weight, 1.0) if self.count else 1.0

    @property
    def _half(self) -> Values:
        return log(2 / self.alpha) + self.penalty


@dataclass(frozen=True)
class DifferenceSequence:
    """The confidence sequence of the first arm's mean minus the second's, for values in [0, 1].

    Values come in blocks, in order of arrival, with a fixed number of each arm: one and one if the arms have equal
    traffic, nine and one if the second has a tenth. A block is the value (1 + first mean − second mean)/2 of a
    MeanSequence. So the variances of the arms add up, not their widths; both arms may have the same prompts; and what
    changes with the time of day for both arms cancels.
    """

    blocks: MeanSequence = field(default_factory=MeanSequence)

    def after(self, first_mean: Values, second_mean: Values) -> "DifferenceSequence":
        """Returns the sequence with one more block, given by the mean of each arm's values in it."""
        for mean in (first_mean, second_mean):
            if not np.all((mean >= 0) & (mean <= 1)):
                raise ValueError(f"expected means in [0, 1], got {mean}")
        return DifferenceSequence(self.blocks.after((1 + first_mean - second_mean) / 2))

    @property
    def low(self) -> Values:
        return 2 * self.blocks.low - 1

    @property
    def high(self) -> Values:
        return 2 * self.blocks.high - 1


def share_at_any_time(successes: float, trials: int, alpha: float = 0.05) -> tuple[float, float]:
    """Returns the interval of a share, valid for all numbers of trials at once; (0, 1) without trials.

    It consists of all shares m that the Beta(½, ½) mixture of likelihoods, s successes of n, does not contradict:

        B(s + ½, n − s + ½) / B(½, ½) / (m^s · (1 − m)^(n−s))  <  1/α

    As a function of n, the left side is a nonnegative martingale that starts at 1 if m is the share (Robbins, Annals of
    Mathematical Statistics 41, 1970, p. 1397; Howard et al., Annals of Statistics 49, 2021, p. 1055, arXiv 1810.08240).
    It is a supermartingale for other values in [0, 1] with mean m, so `successes` may be their sum.

    Half the width approaches √(2·p·(1 − p)·(log(1/α) + ½·log(πn/2)) / n). The share must not drift.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= successes <= trials, got {successes} of {trials}")
    _require_error_rate(alpha)
    failures = trials - successes
    mixture = lgamma(successes + 0.5) + lgamma(failures + 0.5) - lgamma(trials + 1.0) - log(np.pi)

    def contradicted(share: float) -> bool:
        if not 0 < share < 1:
            return True
        return mixture - successes * log(share) - failures * log(1 - share) >= log(1 / alpha)

    def bound(outside: float, inside: float) -> float:
        for _ in range(60):
            middle = (outside + inside) / 2
            outside, inside = (middle, inside) if contradicted(middle) else (outside, middle)
        return outside

    return (
        bound(0.0, successes / trials) if successes else 0.0,
        bound(1.0, successes / trials) if failures else 1.0,
    )


def share_difference_at_any_time(
    first_successes: float, first_trials: int, second_successes: float, second_trials: int, alpha: float = 0.05
) -> tuple[float, float]:
    """Returns the interval of the first share minus the second, valid at all times, from the sequences of both at α/2.

    It takes any split of traffic, any order and no state. But the widths of both arms add up: with equal traffic it is
    1.2 to 1.6 times as wide as a DifferenceSequence, and so needs up to 2.5 times the data.
    """
    first_low, first_high = share_at_any_time(first_successes, first_trials, alpha / 2)
    second_low, second_high = share_at_any_time(second_successes, second_trials, alpha / 2)
    return first_low - second_high, first_high - second_low


def _require_error_rate(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"expected 0 < alpha < 1, got {alpha}")
