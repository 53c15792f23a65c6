"""A sum of independent shares with given weights, with its interval. Pure.

Post-stratification: people of some segments vote more often than others. Weighted by the segments' shares of all
outputs rather than of the votes, a share estimates what it would be if all outputs had the same chance of a vote within
their segment.
"""

from collections.abc import Sequence
from math import sqrt

from app.statistics.shares import wilson


def weighted_share(
    successes: Sequence[int], trials: Sequence[int], weights: Sequence[float], confidence: float = 0.95
) -> tuple[float, float, float] | None:
    """Returns Σ w_k·p_k with its interval, for weights w_k that sum to 1; None if a stratum has no trials.

    The interval recovers the variances from Wilson's bounds l_k and u_k of each share (MOVER: Zou and Donner,
    Statistics in Medicine 27, 2008, p. 1693; with two strata of weights 1 and −1 it is Newcombe's interval):

        p − √(Σ w_k²·(p_k − l_k)²)  to  p + √(Σ w_k²·(u_k − p_k)²)

    The rows must be independent, and the weights known: those of many outputs are.
    """
    intervals = [wilson(won, of, confidence) for won, of in zip(successes, trials, strict=True)]
    share = below = above = 0.0
    for won, of, weight, interval in zip(successes, trials, weights, intervals, strict=True):
        if interval is None:
            return None
        low, high = interval
        share += weight * won / of
        below += (weight * (won / of - low)) ** 2
        above += (weight * (high - won / of)) ** 2
    return share, max(0.0, share - sqrt(below)), min(1.0, share + sqrt(above))
