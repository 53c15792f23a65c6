"""Bootstrap intervals of measures of rows that come in groups. Pure numpy.

Rows of one prompt are not independent, so a resample draws prompts, not rows. A row's count in a resample is the number
of times its prompt was drawn, times its own weight: weight 2 is the row twice.

Legend: N rows, G groups (prompts), R resamples.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from app.statistics.measures import Array, Statistic, difference, mean

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
        return self.intervals({"": statistic}, reason)[""]

    def intervals(self, statistics: Mapping[str, Statistic], reason: str) -> dict[str, dict[str, Any]]:
        """Returns the interval of each statistic by its name. The draws, which cost most of the time, are made once."""
        if len(self.groups_N) == 0:
            return {name: _missing("the holdout has no rows") for name in statistics}
        values = {name: float(statistic(self.weight_N[None, :])[0]) for name, statistic in statistics.items()}
        drawn: dict[str, list[Array]] = {name: [] for name, value in values.items() if np.isfinite(value)}
        for W_RN in self._draws() if drawn else ():
            for name, parts in drawn.items():
                parts.append(statistics[name](W_RN))
        tail = (1 - self.confidence) / 2
        figures = {name: _missing(reason) for name in values}
        for name, parts in drawn.items():
            low, high = np.nanquantile(np.concatenate(parts), [tail, 1 - tail])
            figures[name] = {"value": values[name], "low": float(low), "high": float(high)}
        return figures

    def restricted_to(self, kept_N: Array) -> "Bootstrap":
        """Returns the bootstrap over the rows that `kept_N` marks, (N,), and over their groups alone."""
        _, groups_N = np.unique(self.groups_N[kept_N], return_inverse=True)
        return replace(self, groups_N=groups_N, weight_N=self.weight_N[kept_N])

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


def paired_difference(over_groups: Bootstrap, first_N: Array, second_N: Array) -> dict[str, Any]:
    """Returns the interval of the mean of the first arm minus that of the second, both on the same rows, with counts.

    The counts are {"rows", "groups", "missing"}. A row without a value (NaN) in either arm is left out and counted as
    missing, so both arms are judged on the same rows. A resample has the same prompts for both arms, so the variation
    between prompts cancels (Miller, "Adding error bars to evals", 2024, arXiv 2411.00640).
    """
    both_N = ~(np.isnan(first_N) | np.isnan(second_N))
    kept = over_groups.restricted_to(both_N)
    counts = {
        "rows": int(both_N.sum()),
        "groups": len(np.unique(kept.groups_N)),
        "missing": int((~both_N).sum()),
    }
    if not counts["rows"]:
        return {**_missing("no row has a value of both arms"), **counts}
    statistic = difference(mean(first_N[both_N]), mean(second_N[both_N]))
    return {**kept.interval(statistic, "a value of an arm is infinite"), **counts}


def _missing(reason: str) -> dict[str, Any]:
    return {"value": None, "low": None, "high": None, "reason": reason}
