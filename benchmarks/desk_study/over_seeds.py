"""Student's t interval over seeds, 95 %: mean ± t(n − 1) · s / √n. Pure.

Each seed has a base model, votes and tickets of its own, so the spread of the seeds' figures contains all sources of
variation: training, votes and tickets. With three seeds t is 4.30 and the interval is wide; it assumes normally
distributed figures. Resampling the seeds instead would give intervals that are too narrow for so few.
"""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

#: 97.5 % quantiles of Student's t by degrees of freedom.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def interval(values: Sequence[float]) -> dict[str, float | None]:
    """Returns the mean with its interval. One value has no interval; without values the mean is None, too."""
    if not values:
        return {"mean": None, "low": None, "high": None}
    mean = fmean(values)
    if len(values) == 1:
        return {"mean": mean, "low": None, "high": None}
    half = T[len(values) - 1] * stdev(values) / sqrt(len(values))
    return {"mean": mean, "low": mean - half, "high": mean + half}
