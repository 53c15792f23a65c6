"""Renews a lease while its holder works, however long a step of the work takes."""

import logging
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from app.errors import StaleLease

log = logging.getLogger(__name__)


class LeaseRenewal(ABC):
    """Renews a lease from a thread during the block.

    subject  what the lease is for, in the log
    seconds  the pause between two renewals
    lost     whether the lease is known to be lost
    """

    def __init__(self, subject: str, seconds: float) -> None:
        self._subject, self._seconds = subject, seconds
        self.lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"lease of {subject}", daemon=True)

    @abstractmethod
    def renew(self) -> None:
        """Renews the lease once. Raises `StaleLease` if another process may have it; any other error is tried again."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def pause(self, seconds: float) -> None:
        """Waits, at most until the end of the block."""
        self._ended.wait(seconds)

    def _work(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self.renew()
            except StaleLease:
                self.lost = True
                return
            except Exception:
                log.exception("the lease of %s could not be renewed, trying again", self._subject)
