"""The distance between two mixes of categories, with what chance alone makes of it. Pure numpy."""

from collections.abc import Mapping

import numpy as np

#: Pairs of samples that the noise is taken from.
DRAWS = 1_000


def total_variation(first: Mapping[str, int], second: Mapping[str, int]) -> float | None:
    """Returns the total variation distance of two mixes: ½·Σ |p_k − q_k|, the share of one that would have to change to
    make it the other; None if either is empty.
    """
    sizes = sum(first.values()), sum(second.values())
    if not all(sizes):
        return None
    names = first.keys() | second.keys()
    return sum(abs(first.get(name, 0) / sizes[0] - second.get(name, 0) / sizes[1]) for name in names) / 2


def noise_of_total_variation(first: Mapping[str, int], second: Mapping[str, int], share: float = 0.95) -> float | None:
    """Returns the distance below which this share of pairs of samples lie that have the sizes of these, and the mix of
    both together; None if either is empty. Same draws each time.

    The distance of samples is never 0, and larger the smaller they are: only above this noise it tells of a change.
    """
    names = sorted(first.keys() | second.keys())
    sizes = sum(first.values()), sum(second.values())
    if not all(sizes):
        return None
    pooled = np.array([first.get(name, 0) + second.get(name, 0) for name in names]) / sum(sizes)
    generator = np.random.default_rng(0)
    drawn = [generator.multinomial(size, pooled, size=DRAWS) / size for size in sizes]
    return float(np.quantile(np.abs(drawn[0] - drawn[1]).sum(1) / 2, share))
