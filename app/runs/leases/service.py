"""What a worker does to a run that it holds: claim, renew, report, end; and what happens when it falls silent.

Every write carries the lease and is refused with `StaleLease` once somebody else may have the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import settings
from app.checkpoints import service as checkpoints
from app.errors import StaleLease
from app.runs import service as runs
from app.runs import states
from app.runs.leases import store
from app.runs.leases.lease import Lease
from app.runs.recipe import Recipe
from app.runs.states import RunState
from app.runs.tables import Run

#: A run that waits is made known again after so many seconds: its message may be lost with the broker's data.
RING_AGAIN_SECONDS = 60.0
REAPER = "reaper"


@dataclass(frozen=True)
class Claimed:
    """A run as its worker finds it."""

    lease: Lease
    project: str
    state: RunState
    configuration: wire.ProjectConfiguration
    recipe: Recipe  # resolved once there is a snapshot
    watermark: int
    reference_checkpoint_id: UUID
    snapshot_id: UUID | None


@dataclass(frozen=True)
class Report:
    """News of a run's work; None where there is nothing new."""

    done: int | None = None
    total: int | None = None
    eta_seconds: float | None = None
    metrics: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] | None = None


def claim(session: Session, run_id: UUID, owner: str) -> Claimed | None:
    """Take the run; None where there is nothing to take. A second delivery of the message finds just that."""
    row = store.claim(session, run_id, owner, settings.current().lease_seconds)
    if row is None:
        return None
    if row.state == RunState.QUEUED:
        runs.move(session, row, RunState.SNAPSHOTTING, owner, "claimed")
    return Claimed(
        Lease(row.id, owner, row.lease_epoch),
        row.project_id,
        RunState(row.state),
        wire.ProjectConfiguration.model_validate(row.configuration),
        Recipe.model_validate(row.recipe),
        row.watermark,
        row.reference_checkpoint_id,
        row.snapshot_id,
    )


def renew(session: Session, lease: Lease) -> RunState:
    """Hold the run for another `lease_seconds`; its state. Raises `StaleLease`, as everything below does."""
    return _held(store.renew(session, lease, settings.current().lease_seconds), lease)


def snapshotted(session: Session, lease: Lease, snapshot_id: UUID, recipe: Recipe) -> None:
    """Keep the snapshot and the recipe that was resolved on it."""
    _held(store.write(session, lease, {"snapshot_id": snapshot_id, "recipe": recipe.model_dump(mode="json")}), lease)


def trained(session: Session, lease: Lease, recipe: Recipe) -> None:
    """Keep the recipe as it was trained by, with what the trainer measured where the recipe said `auto`."""
    _held(store.write(session, lease, {"recipe": recipe.model_dump(mode="json")}), lease)


def advance(session: Session, lease: Lease, to: RunState) -> RunState:
    """Move the run on to `to`; a run that is there, further on or being cancelled stays. Its state."""
    row = _locked(session, lease)
    state = RunState(row.state)
    if state is RunState.CANCELLING or not states.ahead_of(state, to):
        return state
    runs.move(session, row, to, lease.owner, "", {"phase_done": 0, "phase_total": 0, "eta_seconds": None})
    return to


def report(session: Session, lease: Lease, news: Report) -> None:
    """Write progress, metrics and warnings."""
    values: dict[str, Any] = {}
    if news.total is not None:
        values |= {"phase_done": news.done, "phase_total": news.total, "eta_seconds": news.eta_seconds}
    if news.warnings is not None:
        values["warnings"] = list(news.warnings)
    if news.metrics:
        values["last_metrics"] = dict(news.metrics[-1])
    if values:
        _held(store.write(session, lease, values), lease)
    if news.metrics:
        store.keep_metrics(session, lease.run_id, [dict(line) for line in news.metrics])


def finish(
    session: Session,
    lease: Lease,
    *,
    weights_sha256: str,
    reasons: list[str],
    files: Mapping[str, str],
    manifest: Mapping[str, Any],
) -> UUID:
    """Register the checkpoint and end the run, both or neither; the checkpoint's id.

    Raises `Conflict` where the run is being cancelled.
    """
    row = _locked(session, lease)
    states.require(RunState(row.state), RunState.SUCCEEDED)
    assert row.snapshot_id is not None
    checkpoint = checkpoints.register(
        session,
        project=row.project_id,
        run_id=row.id,
        snapshot_id=row.snapshot_id,
        reference_id=row.reference_checkpoint_id,
        weights_sha256=weights_sha256,
        reasons=reasons,
        files=files,
        manifest=manifest,
    )
    verdict = "its gates passed" if not reasons else "its gates refused it"
    runs.end(
        session, row, RunState.SUCCEEDED, lease.owner, f"checkpoint {checkpoint.id}: {verdict}",
        {"checkpoint_id": checkpoint.id, "reason": None},
    )  # fmt: skip
    return checkpoint.id


def fail(session: Session, lease: Lease, reason: str) -> None:
    """End the run for good; one that is being cancelled is cancelled."""
    _give_up(session, _locked(session, lease), lease.owner, reason)


def cancelled(session: Session, lease: Lease) -> None:
    """End a run that is being cancelled, now that its processes are gone."""
    row = _locked(session, lease)
    runs.end(session, row, RunState.CANCELLED, lease.owner, "its processes have ended", {"reason": row.reason})


def release(session: Session, lease: Lease) -> None:
    """Give the run back, its state saved; another worker continues it at once."""
    row = _locked(session, lease)
    if row.state == RunState.CANCELLING:
        return cancelled(session, lease)
    return _free(session, row)


def lose(session: Session, lease: Lease, cause: str) -> None:
    """Give the run back after a death that may be chance; too many of them fail it."""
    _lose(session, _locked(session, lease), lease.owner, cause)


def reap(session: Session) -> int:
    """Return runs whose worker fell silent, and make those known again that nobody took; how many it touched."""
    rows = store.silent(session)
    for row in rows:
        if row.state == RunState.CANCELLING:
            runs.end(session, row, RunState.CANCELLED, REAPER, "its worker fell silent", {"reason": row.reason})
        else:
            _lose(session, row, REAPER, f"worker {row.lease_owner} fell silent")
    unheard = store.unheard(session, RING_AGAIN_SECONDS)
    for row in unheard:
        runs.ring(session, row)
    return len(rows) + len(unheard)


def _free(session: Session, row: Run) -> None:
    row.lease_owner = row.lease_expires_at = None
    runs.ring(session, row)


def _lose(session: Session, row: Run, by: str, cause: str) -> None:
    row.lost += 1
    if row.state != RunState.CANCELLING and row.lost < settings.current().run_attempts:
        runs.note(session, row, by, f"{cause}; it is tried again")
        _free(session, row)
    else:
        _give_up(session, row, by, f"given up after {row.lost} lost attempts, the last one: {cause}")


def _give_up(session: Session, row: Run, by: str, reason: str) -> None:
    if row.state == RunState.CANCELLING:
        runs.end(session, row, RunState.CANCELLED, by, reason, {"reason": row.reason})
    else:
        runs.end(session, row, RunState.FAILED, by, reason)


def _held(state: RunState | None, lease: Lease) -> RunState:
    if state is None:
        raise _stale(lease)
    return state


def _stale(lease: Lease) -> StaleLease:
    return StaleLease(
        f"Run {lease.run_id} is not {lease.owner}'s any more: another worker has it, or it has ended.",
        code="stale_lease",
    )


def _locked(session: Session, lease: Lease) -> Run:
    """The run of `lease`, held until the transaction ends."""
    row = runs.locked(session, lease.run_id)
    if row is None or (row.lease_owner, row.lease_epoch) != (lease.owner, lease.epoch):
        raise _stale(lease)
    return row
