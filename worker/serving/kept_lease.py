"""Keeps the lease of a target while a worker is at it, however long a server or a merge takes."""

from app import settings
from app.database import transaction
from app.errors import StaleLease
from app.lease_renewal import LeaseRenewal
from app.serving.leases import service as leases
from app.serving.leases.target_lease import ClaimedTarget


class LedgerMovedOn(Exception):
    """A change of the ledger since the target was claimed: another checkpoint is desired."""


class KeptLease(LeaseRenewal):
    """Renews the lease of a target from a thread during the block, and looks at the ledger."""

    def __init__(self, claimed: ClaimedTarget) -> None:
        super().__init__(f"target {claimed.name}", settings.current().lease_seconds / 4)
        self._claimed, self._lease = claimed, claimed.lease
        self._moved_on = False

    def renew(self) -> None:
        with transaction() as session:
            leases.renew(session, self._lease)
            self._moved_on = leases.moved_on(session, self._claimed)

    def require(self) -> None:
        """Raises `StaleLease` once the lease is known to be lost, and `LedgerMovedOn`: an hour of merging for a canary
        must not keep the next release from the target.
        """
        if self._moved_on:
            raise LedgerMovedOn
        if self.lost:
            raise StaleLease(f"Target {self._lease.target_id} was claimed by another worker.", code="lease_lost")
