"""Numbers as one line of text. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite

BLOCKS = "▁▂▃▄▅▆▇█"
#: For terminals without them.
PLAIN = "_.-~=+*#"


def sparkline(values: Sequence[float], width: int, *, levels: str = BLOCKS) -> str:
    """`values` from left to right, `width` characters at most: each as high as the mean of its share of them.

    Where all are the same they lie in the middle. Those that are not finite are left out.
    """
    finite = [value for value in values if isfinite(value)]
    means = _means(finite, min(width, len(finite)))
    if not means:
        return ""
    low, high = min(means), max(means)
    if low == high:
        return levels[len(levels) // 2] * len(means)
    top = len(levels) - 1
    return "".join(levels[round(top * (mean - low) / (high - low))] for mean in means)


def _means(values: Sequence[float], parts: int) -> list[float]:
    ends = [round(part * len(values) / parts) for part in range(parts + 1)] if parts > 0 else []
    return [sum(values[start:end]) / (end - start) for start, end in pairwise(ends)]
