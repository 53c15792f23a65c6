"""Workers' access to targets: they claim one, renew the lease, and write what they did and saw.

The row is the job: a message only says "look at target N". The lease decides who works on it, and every write is
refused once another worker has claimed the target, or an operator has changed it.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy.orm import Session
from thumbwheel import wire

from app import messages, outbox
from app.database import now
from app.errors import StaleLease
from app.releases import service as releases
from app.serving.leases import store
from app.serving.leases.target_lease import ClaimedTarget, LoadedArtifact, SeenModel, Sighting, TargetLease
from app.serving.served_artifact import ServedArtifact
from app.serving.tables import ServingTarget

#: A worker that is silent for this long loses the target.
LEASE_SECONDS = 60.0
#: The pause after the first failed attempt; it doubles up to the longest.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 300.0

SETTINGS: TypeAdapter[wire.TargetSettings] = TypeAdapter(wire.TargetSettings)


def claim(session: Session, target_id: UUID, owner: str, seconds: float = LEASE_SECONDS) -> ClaimedTarget | None:
    """Claims the target, or returns None if there is nothing to do for this worker."""
    row = store.claim(session, target_id, owner, seconds)
    if row is None:
        return None
    return ClaimedTarget(
        lease=TargetLease(row.id, owner, row.lease_epoch),
        project=row.project_id,
        name=row.name,
        settings=SETTINGS.validate_python(row.settings),
        desired=releases.current(session, row.project_id).checkpoint_id,
        seen=seen_of(row),
        probe=None if row.probe is None else wire.ProbeResult.model_validate(row.probe),
        loaded=tuple(LoadedArtifact.of(each) for each in row.loaded),
        attempts=row.attempts,
    )


def renew(session: Session, lease: TargetLease, seconds: float = LEASE_SECONDS) -> None:
    """Renews the lease. Raises `StaleLease`."""
    _write(session, lease, {"lease_expires_at": store.after(seconds)})


def record_load(session: Session, lease: TargetLease, loaded: Sequence[LoadedArtifact], reason: str) -> None:
    """Records, before anything is loaded, what is loaded next, so that a killed worker leaves nothing that nobody
    unloads. Raises `StaleLease`.
    """
    _write(session, lease, {"loaded": [each.document() for each in loaded], "state": "loading", "reason": reason})


def finish(session: Session, lease: TargetLease, claimed: ClaimedTarget, sighting: Sighting) -> None:
    """Writes what the worker found and gives the target back. If another checkpoint went live meanwhile, the target is
    due again at once. Raises `StaleLease`.
    """
    at = now()
    values: dict[str, Any] = {
        "state": sighting.state,
        "reason": sighting.reason,
        "seen_checkpoint_id": None if sighting.seen is None else sighting.seen.checkpoint_id,
        "seen": None if sighting.seen is None else asdict(sighting.seen.artifact) | {"model": sighting.seen.model},
        "probe": None if sighting.probe is None else sighting.probe.model_dump(mode="json"),
        "loaded": [each.document() for each in sighting.loaded],
        "attempts": 0 if sighting.state in ("serving", "loading") else claimed.attempts + 1,
        "next_try_at": store.after(sighting.next_seconds),
        "lease_owner": None,
        "lease_expires_at": None,
    }
    if sighting.found_there:
        values["seen_at"] = at
    moved_on = releases.current(session, claimed.project).checkpoint_id != claimed.desired
    if moved_on:
        values |= {"next_try_at": at, "rung_at": at, "attempts": 0}
    _write(session, lease, values)
    if moved_on:
        outbox.put(session, messages.SYNC_TARGET, target_id=lease.target_id)


def pause_seconds(failed_before: int) -> float:
    """Returns the pause until the next attempt."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(failed_before, 10), LONGEST_PAUSE_SECONDS)


def seen_of(row: ServingTarget) -> SeenModel | None:
    """Returns what the target was last seen to serve."""
    if row.seen is None or row.seen_checkpoint_id is None:
        return None
    values = dict(row.seen)
    model = values.pop("model")
    return SeenModel(row.seen_checkpoint_id, ServedArtifact(**values), model)


def _write(session: Session, lease: TargetLease, values: dict[str, Any]) -> None:
    if store.write(session, lease, values) is None:
        raise StaleLease(
            f"Target {lease.target_id} was claimed by another worker, changed or deleted.", code="lease_lost"
        )
