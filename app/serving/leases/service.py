"""Workers' access to targets: they claim one, renew the lease, and write what they did and saw.

The row is the job: a message only says "look at target N". The lease decides who works on it, and every write is
refused once another worker has claimed the target, or an operator has changed it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy.orm import Session
from thumbwheel import wire

from app import messages, outbox, settings
from app.database import now
from app.errors import StaleLease
from app.releases import service as releases
from app.serving.leases import store
from app.serving.leases.target_lease import ClaimedTarget, LoadedArtifact, SeenModel, Sighting, TargetLease
from app.serving.served_artifact import Role, ServedArtifact
from app.serving.tables import ServingSighting

#: The pause after the first failed attempt; it doubles up to the longest.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 300.0

SETTINGS: TypeAdapter[wire.TargetSettings] = TypeAdapter(wire.TargetSettings)


def claim(session: Session, target_id: UUID, owner: str) -> ClaimedTarget | None:
    """Claims the target, or returns None if there is nothing to do for this worker."""
    row = store.claim(session, target_id, owner, settings.current().lease_seconds)
    if row is None:
        return None
    return ClaimedTarget(
        lease=TargetLease(row.id, owner, row.lease_epoch),
        project=row.project_id,
        name=row.name,
        settings=SETTINGS.validate_python(row.settings),
        desired=_desired(session, row.project_id),
        before={_role(each): sighting_of(each) for each in store.sightings(session, row.id)},
        loaded=tuple(LoadedArtifact.of(each) for each in row.loaded),
    )


def renew(session: Session, lease: TargetLease) -> None:
    """Renews the lease for another `lease_seconds`. Raises `StaleLease`."""
    _write(session, lease, {"lease_expires_at": store.after(settings.current().lease_seconds)})


def record_load(
    session: Session, lease: TargetLease, role: Role, loaded: Sequence[LoadedArtifact], reason: str
) -> None:
    """Records, before anything is loaded, what is loaded next, so that a killed worker leaves nothing that nobody
    unloads. Raises `StaleLease`.
    """
    _write(session, lease, {"loaded": [each.document() for each in loaded]})
    store.write_sighting(session, lease.target_id, role, {"state": "loading", "reason": reason})


def record(
    session: Session, lease: TargetLease, role: Role, sighting: Sighting | None, loaded: Sequence[LoadedArtifact]
) -> None:
    """Writes what was seen in a role, or forgets it: the role has ended. Raises `StaleLease`."""
    _write(session, lease, {"loaded": [each.document() for each in loaded]})
    if sighting is None:
        store.forget_sighting(session, lease.target_id, role)
        return
    seen = sighting.seen
    values: dict[str, Any] = {
        "state": sighting.state,
        "reason": sighting.reason,
        "seen_checkpoint_id": None if seen is None else seen.checkpoint_id,
        "seen": None if seen is None else asdict(seen.artifact) | {"model": seen.model},
        "probe": None if sighting.probe is None else sighting.probe.model_dump(mode="json"),
        "attempts": sighting.attempts,
    }
    if sighting.found_there:
        values["seen_at"] = now()
    elif seen is None:
        values["seen_at"] = None
    store.write_sighting(session, lease.target_id, role, values)


def finish(session: Session, claimed: ClaimedTarget, loaded: Sequence[LoadedArtifact], next_seconds: float) -> None:
    """Gives the target back. If the ledger has moved on meanwhile, the target is due again at once. Raises
    `StaleLease`.
    """
    lease, at = claimed.lease, now()
    values: dict[str, Any] = {
        "loaded": [each.document() for each in loaded],
        "next_try_at": store.after(next_seconds),
        "lease_owner": None,
        "lease_expires_at": None,
    }
    again = moved_on(session, claimed)
    if again:
        values |= {"next_try_at": at, "rung_at": at}
    _write(session, lease, values)
    if again:
        store.forget_attempts(session, lease.target_id)
        outbox.put(session, messages.SYNC_TARGET, target_id=lease.target_id)


def moved_on(session: Session, claimed: ClaimedTarget) -> bool:
    """Returns whether the ledger says something else than when the target was claimed."""
    return _desired(session, claimed.project) != claimed.desired


def pause_seconds(failed_before: int) -> float:
    """Returns the pause until the next attempt."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(failed_before, 10), LONGEST_PAUSE_SECONDS)


def sighting_of(row: ServingSighting) -> Sighting:
    """Returns what a row says was seen."""
    return Sighting(
        state=row.state,  # type: ignore[arg-type] # the table allows no other one
        seen=seen_of(row),
        probe=None if row.probe is None else wire.ProbeResult.model_validate(row.probe),
        reason=row.reason,
        attempts=row.attempts,
    )


def seen_of(row: ServingSighting) -> SeenModel | None:
    """Returns the model that a row says was seen."""
    if row.seen is None or row.seen_checkpoint_id is None:
        return None
    values = dict(row.seen)
    model = values.pop("model")
    return SeenModel(row.seen_checkpoint_id, ServedArtifact(**values), model)


def _role(row: ServingSighting) -> Role:
    return "live" if row.role == "live" else "canary"


def _desired(session: Session, project: str) -> Mapping[Role, UUID]:
    """Returns the checkpoint of each role, by the ledger."""
    live = releases.current(session, project)
    desired: dict[Role, UUID] = {"live": live.checkpoint_id}
    if live.canary is not None:
        desired["canary"] = live.canary.checkpoint_id
    return desired


def _write(session: Session, lease: TargetLease, values: dict[str, Any]) -> None:
    if store.write(session, lease, values) is None:
        raise StaleLease(
            f"Target {lease.target_id} was claimed by another worker, changed or deleted.", code="lease_lost"
        )
