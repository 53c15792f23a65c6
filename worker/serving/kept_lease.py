"""Keeps the lease of a target while a worker is at it, however long a server or a merge takes."""

import logging
import threading
from types import TracebackType
from typing import Self

from app import settings
from app.database import transaction
from app.errors import StaleLease
from app.serving.leases import service as leases
from app.serving.leases.target_lease import ClaimedTarget

log = logging.getLogger(__name__)


class LedgerMovedOn(Exception):
    """A change of the ledger since the target was claimed: another checkpoint is desired."""


class KeptLease:
    """Renews the lease from a thread during the block, and looks at the ledger."""

    def __init__(self, claimed: ClaimedTarget) -> None:
        self._claimed, self._lease = claimed, claimed.lease
        self._gone = self._moved_on = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"lease of {claimed.name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def require(self) -> None:
        """Raises `StaleLease` once the lease is known to be lost, and `LedgerMovedOn`: an hour of merging for a canary
        must not keep the next release from the target.
        """
        if self._moved_on:
            raise LedgerMovedOn
        if self._gone:
            raise StaleLease(f"Target {self._lease.target_id} was claimed by another worker.", code="lease_lost")

    def _work(self) -> None:
        while not self._ended.wait(settings.current().lease_seconds / 4):
            try:
                with transaction() as session:
                    leases.renew(session, self._lease)
                    self._moved_on = leases.moved_on(session, self._claimed)
            except StaleLease:
                self._gone = True
                return
            except Exception:
                log.exception("the lease of target %s could not be renewed, trying again", self._lease.target_id)
