"""Gives runs back that a full disk stops, without a lost attempt, and has them tried again after growing pauses."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.orm import Session

from app import settings
from app.database import now
from app.runs.full_disk import store
from app.runs.leases import service as leases
from app.runs.leases.lease import Lease
from app.runs.states import RunState, TransitionKind
from app.runs.tables import Run
from app.runs.transitions import service as transitions

#: Seconds until a run is tried again: as long as it has waited so far, within these bounds.
SHORTEST_PAUSE, LONGEST_PAUSE = 5.0, 600.0


def hold_up(session: Session, lease: Lease, disk: str) -> None:
    """Gives the run back until it is tried again, or fails it if the disk has been full for `disk_full_hours`. The wait
    ends when the run reaches a new state or step. Raises `StaleLease`.

    disk  the name of the disk, as "the disk that holds /data"
    """
    row = leases.locked(session, lease)
    if row.state == RunState.CANCELLING:
        return leases.cancelled(session, lease)
    since = row.held_up_since or now()
    waited = now() - since
    hours = settings.current().disk_full_hours
    if waited >= timedelta(hours=hours):
        remedy = "make room there and retry the run, it continues from the last training checkpoint"
        return leases.fail(session, lease, f"{disk} is full, and was for {hours:g} hours: {remedy}")
    pause = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, waited.total_seconds()))
    row.held_up_since, row.held_up_by = since, f"{disk} is full: make room there"
    row.next_attempt_at = now() + timedelta(seconds=pause)
    row.lease_owner = row.lease_expires_at = None
    reason = f"given back, as {row.held_up_by}; it is tried again in {pause:.0f} s"
    return transitions.note(session, row, TransitionKind.HELD_UP, lease.owner, reason)


def held_up(session: Session) -> Sequence[Run]:
    """Returns the runs that wait for room on a disk, the longest wait first."""
    return store.held_up(session)
