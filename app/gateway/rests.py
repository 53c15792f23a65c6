"""Targets that failed a moment ago: they are tried last until their rest is over. Pure."""

import time
from collections.abc import Callable, Hashable

FIRST_SECONDS, LONGEST_SECONDS = 1.0, 30.0


class Rests:
    """Rests of targets. Each failure in a row doubles the next rest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[Hashable, tuple[int, float, str]] = {}

    def failed(self, target: Hashable, reason: str) -> bool:
        """Makes the target rest; returns False if it rests already: requests under way together count as one."""
        if self.rests(target):
            return False
        failures = self._failures.get(target, (0, 0.0, ""))[0] + 1
        seconds = min(FIRST_SECONDS * 2 ** min(failures - 1, 10), LONGEST_SECONDS)
        self._failures[target] = (failures, self._clock() + seconds, reason)
        return True

    def answered(self, target: Hashable) -> None:
        self._failures.pop(target, None)

    def rests(self, target: Hashable) -> bool:
        failure = self._failures.get(target)
        return failure is not None and self._clock() < failure[1]

    def reasons(self) -> dict[Hashable, str]:
        """Returns why each resting target rests."""
        return {target: reason for target, (_, _, reason) in self._failures.items() if self.rests(target)}
