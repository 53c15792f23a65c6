"""Keeps the lease of an import while a process is at it."""

import logging
import threading
from types import TracebackType
from typing import Self

from app import settings
from app.database import transaction
from app.errors import StaleLease
from app.feedback.import_jobs.leases import service as leases
from app.feedback.import_jobs.leases.lease import ImportLease

log = logging.getLogger(__name__)


class HeldLease:
    """Renews the lease from a thread during the block."""

    def __init__(self, lease: ImportLease) -> None:
        self.lease = lease
        self._gone = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="lease", daemon=True)

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
            raise StaleLease(f"Import {self.lease.import_id} was taken from this process.", code="lease_lost")

    def _work(self) -> None:
        while not self._ended.wait(settings.current().lease_seconds / 4):
            try:
                with transaction() as session:
                    leases.renew(session, self.lease)
            except StaleLease:
                self._gone = True
                return
            except Exception:
                log.exception("the lease of import %s could not be renewed, trying again", self.lease.import_id)
