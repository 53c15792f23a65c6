"""Keeps the lease of a target while a worker is at it, however long a server or a merge takes."""

import logging
import threading
from types import TracebackType
from typing import Self

from app.database import transaction
from app.errors import StaleLease
from app.serving.leases import service as leases
from app.serving.leases.service import LEASE_SECONDS
from app.serving.leases.target_lease import TargetLease

log = logging.getLogger(__name__)


class KeptLease:
    """Renews the lease from a thread during the block."""

    def __init__(self, lease: TargetLease) -> None:
        self._lease = lease
        self._gone = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"lease of {lease.target_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def require(self) -> None:
        """Raises `StaleLease` once the lease is known to be lost."""
        if self._gone:
            raise StaleLease(f"Target {self._lease.target_id} was claimed by another worker.", code="lease_lost")

    def _work(self) -> None:
        while not self._ended.wait(LEASE_SECONDS / 4):
            try:
                with transaction() as session:
                    leases.renew(session, self._lease)
            except StaleLease:
                self._gone = True
                return
            except Exception:
                log.exception("the lease of target %s could not be renewed, trying again", self._lease.target_id)
