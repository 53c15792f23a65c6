"""Ages of events as quantiles, and how well an objective for them is kept. Pure.

An objective says: of all events, `share` are live within `hours`. An event is *due* when its hours end. Over the events
that became due within a window of days,

    burn = (1 − share in time) / (1 − objective's share)

so 1 uses up exactly what the objective allows (as the burn rate of an error budget does), and 2 twice that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

#: The shares of the quantiles that are stored.
SHARES = tuple(number / 100 for number in range(101))
#: Days over which an objective is judged.
WINDOW_DAYS = 30


@dataclass(frozen=True)
class Ages:
    """Ages of events at one moment, in seconds, by their quantiles at `SHARES`."""

    at: datetime
    events: int
    quantiles: Sequence[float] | None

    def quantile(self, share: float) -> float | None:
        """Returns the age below which this share of the events is; None without events."""
        return None if self.quantiles is None else float(np.interp(share, SHARES, self.quantiles))

    def between(self, low: float, high: float) -> float:
        """Returns about how many events have an age from `low` to below `high`."""
        if self.quantiles is None or high <= low:
            return 0.0
        first, last = np.searchsorted(self.quantiles, [low, high], side="left")
        return self.events * float(last - first) / len(SHARES)


@dataclass(frozen=True)
class Attainment:
    """The attainment of an objective."""

    due: int
    in_time: float | None
    burn: float | None


def attainment(learned: Sequence[Ages], waiting: Ages | None, share: float, hours: float, now: datetime) -> Attainment:
    """Returns how well the objective was kept over the last `WINDOW_DAYS`.

    learned   the ages that events had when they became live
    waiting   the ages of those that are not live yet
    """
    limit, window = hours * 3600, timedelta(days=WINDOW_DAYS).total_seconds()
    due = in_time = 0.0
    for ages in learned:
        # An event of age a was received at ages.at − a, and due `limit` after that.
        youngest = (ages.at - now).total_seconds() + limit
        due += ages.between(youngest, youngest + window)
        in_time += ages.between(youngest, min(youngest + window, limit))
    if waiting is not None:
        youngest = (waiting.at - now).total_seconds() + limit
        due += waiting.between(youngest, youngest + window)
    if due < 1:
        return Attainment(0, None, None)
    return Attainment(round(due), in_time / due, (1 - in_time / due) / (1 - share))
