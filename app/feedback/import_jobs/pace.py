"""The pace of an import beside ordinary ingest: one transaction at a time, and pauses while Postgres is busy. Pure.

A transaction that is quick says that nobody waits for Postgres. After a slow one the import pauses for as long as it
took, and its transactions become smaller, so that nobody waits long behind one.
"""

LEAST_EVENTS, FIRST_EVENTS, MOST_EVENTS = 25, 250, 500
#: Durations up to which the next transaction may be larger, and above which it has to be smaller.
QUICK_SECONDS, SLOW_SECONDS = 0.1, 0.25
LONGEST_PAUSE_SECONDS = 1.0


class Pace:
    """The number of events in the next transaction, as the last ones suggest."""

    def __init__(self) -> None:
        self.events = FIRST_EVENTS

    def pause_after(self, seconds: float) -> float:
        """Returns the pause after a transaction that took so long, and adapts the size of the next one."""
        if seconds <= QUICK_SECONDS:
            self.events = min(MOST_EVENTS, self.events * 2)
            return 0.0
        if seconds > SLOW_SECONDS:
            self.events = max(LEAST_EVENTS, self.events // 2)
        return min(seconds, LONGEST_PAUSE_SECONDS)
