"""Brings one target to the live checkpoint and the canary: claims it, has a `Visit` look, and gives it back.

A worker may be killed at any point. The next claim begins again: folders are complete or not there, what is loaded
under its name is not loaded twice, and whatever may have been loaded was recorded before. No lock and no transaction is
held while a server is waited for.
"""

import logging
import os
import socket
from collections.abc import Callable
from contextlib import closing
from uuid import UUID, uuid4

from app.database import transaction
from app.errors import StaleLease, Unavailable
from app.serving.leases import service as leases
from app.serving.leases.target_lease import ClaimedTarget
from app.serving.targets.by_kind import connect
from app.serving.targets.target import TargetError
from worker.serving.kept_lease import KeptLease, LedgerMovedOn
from worker.serving.visit import Visit, failure_of

log = logging.getLogger(__name__)


def sync(target_id: UUID) -> None:
    """Looks at the target if it is due and no other worker does."""
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    with transaction() as session:
        claimed = leases.claim(session, target_id, owner)
    if claimed is None:
        return
    try:
        with KeptLease(claimed) as lease:
            _look(claimed, lease.require)
    except StaleLease:
        log.info("target %s of %s: another worker has it, or it was changed", claimed.name, claimed.project)
    except Unavailable as error:
        # This cannot be recorded now; after the lease has expired, the tick sends a message again.
        log.warning("target %s of %s: left, a server is away: %s", claimed.name, claimed.project, error.message)


def _look(claimed: ClaimedTarget, heed: Callable[[], None]) -> None:
    try:
        client = connect(claimed.settings, claimed.project, claimed.name)
    except TargetError as error:
        _record_failure(claimed, error)
        return
    with closing(client):
        visit = Visit(claimed, client, heed)
        try:
            next_seconds = visit.look()
        except LedgerMovedOn:
            next_seconds = 0.0
    with transaction() as session:
        leases.finish(session, claimed, visit.loaded, next_seconds)


def _record_failure(claimed: ClaimedTarget, error: TargetError) -> None:
    """Records that the target could not be connected to."""
    log.warning("target %s of %s: %s", claimed.name, claimed.project, error)
    attempts = 0
    with transaction() as session:
        for role in claimed.desired:
            before = claimed.before.get(role)
            found = failure_of(before, error, None if before is None else before.seen)
            attempts = max(attempts, found.attempts)
            leases.record(session, claimed.lease, role, found, claimed.loaded)
        leases.finish(session, claimed, claimed.loaded, leases.pause_seconds(attempts - 1))
