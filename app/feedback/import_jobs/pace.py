"""The pace of an import beside the ordinary ingest: short transactions, and a pause after each. Pure.

A transaction is followed by a pause of the same length, so that an import takes at most half of one connection's time.
When Postgres is slow, transactions become smaller, so that nobody waits long behind one.
"""

LEAST_EVENTS, FIRST_EVENTS, MOST_EVENTS = 25, 125, 500
#: Durations below which a transaction may be larger, and above which it should be smaller.
QUICK_SECONDS, SLOW_SECONDS = 0.05, 0.15
LONGEST_PAUSE_SECONDS = 1.0


class Pace:
    """The number of events that are stored next, as the last transactions suggest."""

    def __init__(self) -> None:
        self.events = FIRST_EVENTS

    def pause_after(self, seconds: float) -> float:
        """Returns the pause after events that took so long to store, and adapts the number of the next ones."""
        if seconds > SLOW_SECONDS:
            self.events = max(LEAST_EVENTS, self.events // 2)
        elif seconds < QUICK_SECONDS:
            self.events = min(MOST_EVENTS, self.events * 2)
        return min(seconds, LONGEST_PAUSE_SECONDS)
