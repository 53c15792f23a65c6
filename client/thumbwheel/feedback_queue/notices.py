"""`Notices`: warnings in the log that do not repeat themselves for every request."""

import logging
import threading
import time

log = logging.getLogger("thumbwheel")

#: Seconds between two warnings about the same thing.
SECONDS = 60.0


class Notices:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}

    def warn(self, about: str, message: str, *values: object) -> None:
        """Logs a warning, unless there was one about the same thing a moment ago, or another thread is logging one."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            now = time.monotonic()
            if now >= self._due.get(about, 0.0):
                self._due[about] = now + SECONDS
                log.warning(message, *values)
        finally:
            self._lock.release()
