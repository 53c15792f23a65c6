"""Charts of numbers in one line of text. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite

BLOCKS = "▁▂▃▄▅▆▇█"
#: For terminals that cannot show the blocks.
PLAIN = "_.-~=+*#"


def sparkline(values: Sequence[float], width: int, *, levels: str = BLOCKS) -> str:
    """Returns a chart of at most `width` characters, each as high as the mean of the values that it stands for.

    Equal values are drawn at middle height. Values that are not finite are left out.
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
