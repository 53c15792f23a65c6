"""The smallest difference that a number of groups can show, and the number of groups that a difference needs. Pure.

Both directions rest on one equation for an estimate with a normal distribution (Bloom, Evaluation Review 19, 1995,
p. 547; z_q is the q-quantile of the standard normal distribution):

    difference = (z_{1−α/2} + z_power) · standard error

α is two-sided: it belongs to an interval of confidence 1 − α. For a single bound with error rate α, pass 2α.

A standard error shrinks with the root of the number of *groups*. Further rows of the same prompts help less: they
divide the variance within a prompt alone, see `design_effect`. The normal distribution is a fair approximation from
about 30 groups on; with fewer, the power is lower than promised.
"""

from math import ceil, isfinite, sqrt
from statistics import NormalDist

#: More groups than these are no answer.
MOST_GROUPS = 1e12


def minimum_detectable_difference(standard_error: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Returns the smallest true difference for which an interval of confidence 1 − alpha excludes 0 with this power."""
    return _standard_errors(alpha, power) * standard_error


def enough_groups(
    difference: float, standard_error: float, groups: int, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Returns the number of groups that detect `difference`, when `groups` groups have given `standard_error`.

        ⌈groups · ((z_{1−α/2} + z_power) · standard error / difference)²⌉

    None if the number is unknown: the difference is 0, or so small that it takes over a trillion groups, or the
    standard error is 0, infinite or NaN (0 means that all groups agreed, which tells nothing about those to come).
    Without a first measurement, pass the standard deviation of one group's value as the standard error of 1 group.
    """
    if not (isfinite(standard_error) and standard_error > 0 and isfinite(difference) and difference != 0):
        return None
    ratio = abs(minimum_detectable_difference(standard_error, alpha, power) / difference)
    needed = groups * min(ratio, MOST_GROUPS) ** 2  # a larger ratio may overflow
    return max(1, ceil(needed * (1 - 1e-12))) if needed <= MOST_GROUPS else None


def standard_error_of_mean(variance: float, rows: int, effect: float = 1.0) -> float:
    """Returns √(effect · variance / rows), `effect` being the design effect of rows that come in groups.

    The variance of a share p is p·(1 − p); that of the difference of two independent values is the sum of theirs.
    """
    return sqrt(effect * variance / rows)


def standard_error_of_interval(low: float, high: float, confidence: float = 0.95) -> float:
    """Returns (high − low) / (2·z_{(1+confidence)/2}): the standard error that a symmetric interval was made from."""
    return (high - low) / (2 * NormalDist().inv_cdf((1 + confidence) / 2))


def design_effect(rows_per_group: float, correlation: float) -> float:
    """Returns 1 + (m − 1)·ρ, the factor by which groups of m rows raise the variance of a mean.

    (Kish, Survey Sampling, 1965.) ρ, the intraclass correlation, is the share of the variance that lies between groups.
    """
    return 1 + (rows_per_group - 1) * correlation


def _standard_errors(alpha: float, power: float) -> float:
    if not (0 < alpha < 1 and 0.5 <= power < 1):
        raise ValueError(f"expected 0 < alpha < 1 and 0.5 <= power < 1, got alpha {alpha} and power {power}")
    return NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)
