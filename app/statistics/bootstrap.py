"""Bootstrap intervals of measures of rows that come in groups. Pure numpy.

Rows of one prompt are not independent, so a resample draws prompts, not rows. A row's count in a resample is the number
of times its prompt was drawn, times its own weight: weight 2 is the row twice.

Legend: N rows, G groups (prompts), R resamples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.statistics.measures import Array, Statistic

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
        if len(self.groups_N) == 0:
            return {"value": None, "low": None, "high": None, "reason": "the holdout has no rows"}
        value = float(statistic(self.weight_N[None, :])[0])
        if not np.isfinite(value):
            return {"value": None, "low": None, "high": None, "reason": reason}
        drawn_R = np.concatenate([statistic(W_RN) for W_RN in self._draws()])
        tail = (1 - self.confidence) / 2
        low, high = np.nanquantile(drawn_R, [tail, 1 - tail])
        return {"value": value, "low": float(low), "high": float(high)}

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
