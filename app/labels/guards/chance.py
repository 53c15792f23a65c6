"""Bounds on the logarithm of a count's probability, in nats. Pure."""

import numpy as np
from numpy.typing import NDArray

#: The bound with which a test of many candidates flags one by chance less than once in a million times.
MILLION = 14.0
#: The same for `two_shares`, whose bound has a factor 4(1 + x - 2·ln 2) besides exp(-x).
MILLION_OF_TWO = 19.0

Floats = NDArray[np.float64]


def two_shares(heads: Floats, tosses: Floats, other_heads: Floats, other_tosses: Floats) -> Floats:
    """Returns x = n·KL(p ‖ r) + m·KL(q ‖ r), where p = heads/n, q = other heads/m and r is the pooled share. The larger
    x, the worse one share explains both.

    For equal true shares P(x or more) ≤ 4(1 + x - 2·ln 2)·exp(-x): each term, taken at the true share, is t or more
    with probability 2·exp(-t) at most (Chernoff; Hoeffding, JASA 58, 1963, theorem 1), r makes the sum smallest, and
    the sum of two such independent terms is Gamma-distributed at worst. With many others the second term vanishes and
    the first is n·KL(p ‖ q); with few of them q says little, and x stays small.
    """
    pooled = (heads + other_heads) / (tosses + other_tosses)
    return _divergence(heads, tosses, pooled) + _divergence(other_heads, other_tosses, pooled)


def more_than(count: Floats, expected: Floats) -> Floats:
    """Returns x = k·ln(k/μ) - k + μ where k > μ, else 0. A sum of independent Bernoulli variables with mean μ is k or
    more with a probability of at most exp(-x).

    Chernoff's bound (Mitzenmacher and Upfal, Probability and Computing, theorem 4.4). `expected` is positive.
    """
    ratio = np.maximum(count, 1.0) / expected
    return np.where(count > expected, count * np.log(ratio) - count + expected, 0.0)


def _divergence(heads: Floats, tosses: Floats, share: Floats) -> Floats:
    tails = tosses - heads
    with np.errstate(divide="ignore", invalid="ignore"):
        ahead = np.where(heads > 0, heads * np.log(heads / (tosses * share)), 0.0)
        against = np.where(tails > 0, tails * np.log(tails / (tosses * (1 - share))), 0.0)
    return np.maximum(ahead + against, 0.0)
