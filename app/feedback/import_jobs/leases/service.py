"""Processes' access to imports: they claim one, renew the lease, and write position and outcomes together.

The row is the job: a message only says "look at import N". Every write is refused once another process has claimed the
import, or an operator has cancelled it.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import Session
from thumbwheel import wire

from app import settings
from app.database import now
from app.errors import StaleLease
from app.feedback.import_jobs.leases import store
from app.feedback.import_jobs.leases.lease import ClaimedImport, ImportLease, ImportPosition
from app.feedback.import_jobs.tables import ImportJob
from app.feedback.importing.printable import printable
from app.projects import service as projects

#: Rejected records that can be listed; the others are counted by reason.
MOST_REJECTS = 100_000
#: An import fails for good once this number of processes have begun it without any progress.
MOST_ATTEMPTS = 5
#: The pause after an outage; it doubles up to the longest.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 300.0
MOST_REASON = 1000


def claim(session: Session, import_id: UUID, owner: str) -> ClaimedImport | None:
    """Claims the import, or returns None if there is nothing to do for this process."""
    claimed = store.claim(session, import_id, owner, settings.current().lease_seconds)
    if claimed is None:
        return None
    row, at = claimed
    lost = row.lease_epoch > 1 and row.counted_at is not None
    return ClaimedImport(
        lease=ImportLease(row.id, owner, row.lease_epoch),
        project=row.project_id,
        name=row.name,
        options=wire.ImportOptions.model_validate(row.options),
        limits=[*row.limits, *_limits_of_project(session, row.project_id)],
        dry_run=row.dry_run,
        position=ImportPosition(row.files_done, row.items_done, row.rows, row.bytes_done, row.outcomes),
        rejects=row.rejects,
        attempts=row.attempts,
        uncounted=(row.counted_at, at) if lost and row.counted_at is not None else None,
    )


def is_held(session: Session, import_id: UUID, owner: str) -> bool:
    """Returns whether a process with this owner's name holds the import, and has renewed its lease in time."""
    return store.is_held(session, import_id, owner)


def renew(session: Session, lease: ImportLease) -> None:
    """Renews the lease for another `lease_seconds`. Raises `StaleLease`."""
    _write(session, lease, {"lease_expires_at": store.after(settings.current().lease_seconds)})


def advance(
    session: Session,
    lease: ImportLease,
    position: ImportPosition,
    rejects: Sequence[Mapping[str, Any]],
    listed: int,
    *,
    catching_up: bool = False,
) -> int:
    """Writes the position with the outcomes, and the rejected records since the position before, of which `listed`
    are there already; returns how many are there then. Raises `StaleLease`.

    catching_up  whether a lost process may have stored items behind this position: the next process has to know them by
                 the same time as this one
    """
    rejects = rejects[: max(0, MOST_REJECTS - listed)]
    values = {
        "files_done": position.files_done,
        "items_done": position.items_done,
        "rows": position.rows,
        "bytes_done": position.bytes_done,
        "outcomes": list(position.outcomes),
        "rejects": listed + len(rejects),
        "counted_at": ImportJob.counted_at if catching_up else func.clock_timestamp(),
        "attempts": 1,
        "reason": None,
    }
    _write(session, lease, values)
    store.add_rejects(
        session,
        [{"import_id": lease.import_id, "number": number, **row} for number, row in enumerate(rejects, listed + 1)],
    )
    return listed + len(rejects)


def require_open(session: Session, project: str) -> None:
    """Raises `Conflict` if the project takes no feedback any more."""
    projects.require_open(session, project)


def received_between(
    session: Session, project: str, times: tuple[datetime, datetime], *, event_ids: Collection[str]
) -> set[str]:
    """Returns those of the events that the log received between these times."""
    return store.received_within(session, project, *times, event_ids=event_ids)


def registered_between(
    session: Session, project: str, times: tuple[datetime, datetime], *, completion_ids: Collection[str]
) -> set[str]:
    """Returns those of the completions that were registered between these times."""
    return store.registered_within(session, project, *times, completion_ids=completion_ids)


def give_back(session: Session, lease: ImportLease, reason: str | None, seconds: float = 0.0) -> None:
    """Releases the import for another process, which continues after a pause in seconds. Raises `StaleLease`.

    reason  the cause that it waits for

    Nothing was lost, so this claim does not count among those without progress that end the import.
    """
    values = {
        "attempts": func.least(ImportJob.attempts, MOST_ATTEMPTS - 1),
        "reason": None if reason is None else printable(reason)[:MOST_REASON],
        "next_try_at": store.after(seconds),
        "rung_at": None,
        "lease_owner": None,
        "lease_expires_at": None,
        "state": "queued",
    }
    _write(session, lease, values)


def finish(session: Session, lease: ImportLease, state: wire.ImportState, reason: str | None = None) -> None:
    """Ends the import. Raises `StaleLease`."""
    values = {
        "state": state,
        "reason": None if reason is None else printable(reason)[:MOST_REASON],
        "finished_at": now(),
        "lease_owner": None,
        "lease_expires_at": None,
    }
    _write(session, lease, values)


def pause_seconds(attempts: int) -> float:
    """Returns the pause until the next attempt."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(attempts - 1, 10), LONGEST_PAUSE_SECONDS)


def _limits_of_project(session: Session, project: str) -> list[dict[str, Any]]:
    quota = projects.get(session, project).limits.per_minute
    return [] if quota is None else [{"name": "project", "of": project, "quota": quota}]


def _write(session: Session, lease: ImportLease, values: Mapping[str, Any]) -> None:
    if store.write(session, lease, values) is None:
        raise StaleLease(
            f"Import {lease.import_id} was claimed by another process, cancelled or deleted.", code="lease_lost"
        )
