"""Renews the lease of a run from a thread while the run is in work, and collects requests to end it."""

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Self

from app import settings
from app.database import transaction
from app.durable import write_atomically
from app.errors import StaleLease
from app.runs.leases import service as leases
from app.runs.leases.lease import Lease, LeasedRun
from app.runs.states import RunState
from worker.training.machine.lease_watch import LEASE

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 1.0  # the longest delay until a request to cancel or to pause is seen


class Wish(Enum):
    CANCEL = auto()  # an operator cancels the run
    PAUSE = auto()  # an operator pauses it
    LEAVE = auto()  # the worker is to stop
    DROP = auto()  # the lease is gone: another worker may have the run


class Heartbeat:
    """Holds the lease of a run during the block."""

    def __init__(self, lease: Lease, stopping: Callable[[], bool]) -> None:
        self.lease = lease
        self.stopping = stopping
        self.seconds = settings.current().lease_seconds
        self._renewed_at = time.monotonic()
        self._gone = False
        self._standing: LeasedRun | None = None
        self._shown: Path | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"heartbeat of {lease.run_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def wish(self) -> Wish | None:
        # By our own clock as well: without Postgres there is no other sign that the lease has expired.
        if self._gone or time.monotonic() - self._renewed_at > self.seconds:
            return Wish.DROP
        if self._standing is not None and self._standing.state is RunState.CANCELLING:
            return Wish.CANCEL
        if self._standing is not None and self._standing.paused:
            return Wish.PAUSE
        return Wish.LEAVE if self.stopping() else None

    def pause(self, seconds: float) -> None:
        self._ended.wait(seconds)

    def show_in(self, workdir: Path) -> None:
        """Shows the lease to the processes in `workdir`, by a file that is touched at each renewal.

        They end by themselves if the renewals cease, for example because this worker is frozen.
        """
        path = workdir / LEASE
        write_atomically(path, json.dumps({"epoch": self.lease.epoch, "seconds": self.seconds}).encode())
        self._shown = path

    def _touch(self) -> None:
        if self._shown is not None:
            with suppress(OSError):  # another attempt has taken over and removed the folder: the next renewal shows it
                os.utime(self._shown)

    def _work(self) -> None:
        while not self._ended.wait(min(LONGEST_PAUSE_SECONDS, self.seconds / 3)):
            at = time.monotonic()
            try:
                with transaction() as session:
                    self._standing = leases.renew(session, self.lease)
                self._renewed_at = at
                self._touch()
            except StaleLease:
                self._gone = True
                return
            except Exception:
                log.exception("the lease of run %s could not be renewed, trying again", self.lease.run_id)
