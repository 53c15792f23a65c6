"""Renews the lease of a run from a thread while the run is in work, and collects requests to end it."""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path

from app import settings
from app.database import transaction
from app.durable import write_atomically
from app.lease_renewal import LeaseRenewal
from app.runs.leases import service as leases
from app.runs.leases.lease import Lease, LeasedRun
from app.runs.states import RunState
from worker.training.machine.lease_watch import LEASE

LONGEST_PAUSE_SECONDS = 1.0  # the longest delay until a request to cancel or to pause is seen


class Wish(Enum):
    CANCEL = auto()  # an operator cancels the run
    PAUSE = auto()  # an operator pauses it
    LEAVE = auto()  # the worker is to stop
    DROP = auto()  # the lease is gone: another worker may have the run


class Heartbeat(LeaseRenewal):
    """Holds the lease of a run during the block."""

    def __init__(self, lease: Lease, stopping: Callable[[], bool]) -> None:
        self.seconds = settings.current().lease_seconds
        super().__init__(f"run {lease.run_id}", min(LONGEST_PAUSE_SECONDS, self.seconds / 3))
        self.lease = lease
        self.stopping = stopping
        self._renewed_at = time.monotonic()
        self._standing: LeasedRun | None = None
        self._shown: Path | None = None

    def renew(self) -> None:
        at = time.monotonic()
        with transaction() as session:
            self._standing = leases.renew(session, self.lease)
        self._renewed_at = at
        self._touch()

    def wish(self) -> Wish | None:
        # By our own clock as well: without Postgres there is no other sign that the lease has expired.
        if self.lost or time.monotonic() - self._renewed_at > self.seconds:
            return Wish.DROP
        if self._standing is not None and self._standing.state is RunState.CANCELLING:
            return Wish.CANCEL
        if self._standing is not None and self._standing.paused:
            return Wish.PAUSE
        return Wish.LEAVE if self.stopping() else None

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
