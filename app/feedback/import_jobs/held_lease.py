"""Keeps the lease of an import while a process is at it."""

from app import settings
from app.database import transaction
from app.errors import StaleLease
from app.feedback.import_jobs.leases import service as leases
from app.feedback.import_jobs.leases.lease import ImportLease
from app.lease_renewal import LeaseRenewal


class HeldLease(LeaseRenewal):
    """Renews the lease of an import from a thread during the block."""

    def __init__(self, lease: ImportLease) -> None:
        super().__init__(f"import {lease.import_id}", settings.current().lease_seconds / 4)
        self.lease = lease

    def renew(self) -> None:
        with transaction() as session:
            leases.renew(session, self.lease)

    def require(self) -> None:
        """Raises `StaleLease` once the lease is known to be lost."""
        if self.lost:
            raise StaleLease(f"Import {self.lease.import_id} was taken from this process.", code="lease_lost")
