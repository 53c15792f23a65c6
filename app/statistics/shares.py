"""Intervals of a share, and of the difference of two independent shares. Pure.

Both assume independent rows. Rows that share prompts need `bootstrap`; a comparison that is read while data arrives
needs `confidence_sequence`.
"""

from math import hypot, sqrt
from statistics import NormalDist


def wilson(successes: float, trials: int, confidence: float = 0.95) -> tuple[float, float] | None:
    """Returns Wilson's score interval of `successes` / `trials` (JASA 22, 1927, p. 209); None without trials.

    Trials that succeed in part, by values between 0 and 1, vary less: then the interval is wider than necessary.

    (p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n)
    """
    if trials == 0:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / trials
    middle = share + z * z / (2 * trials)
    half = z * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def newcombe(
    first_successes: int, first_trials: int, second_successes: int, second_trials: int, confidence: float = 0.95
) -> tuple[float, float] | None:
    """Returns the interval of the first share minus the second; None if either has no trials.

    Newcombe's hybrid of two Wilson intervals (Statistics in Medicine 17, 1998, p. 873, method 10). With d = p₁ − p₂ and
    the Wilson bounds l and u of each share:

        d − √((p₁ − l₁)² + (u₂ − p₂)²)  to  d + √((u₁ − p₁)² + (p₂ − l₂)²)
    """
    first = wilson(first_successes, first_trials, confidence)
    second = wilson(second_successes, second_trials, confidence)
    if first is None or second is None:
        return None
    first_share, second_share = first_successes / first_trials, second_successes / second_trials
    below = hypot(first_share - first[0], second[1] - second_share)
    above = hypot(first[1] - first_share, second_share - second[0])
    return first_share - second_share - below, first_share - second_share + above
