"""Claims, renews, reports and ends runs for the workers that hold them, and reaps the runs of silent workers.

Every write carries the lease, and raises `StaleLease` once another worker may hold the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire
from thumbwheel.wire.recipe import Recipe

from app import settings
from app.checkpoints import service as checkpoints
from app.errors import StaleLease
from app.runs import service as runs
from app.runs import states
from app.runs.leases import store
from app.runs.leases.lease import Lease, LeasedRun
from app.runs.states import Condition, Hold, Reaping, RunState, TransitionKind
from app.runs.tables import GOES_ON, Run
from app.runs.transitions import service as transitions

#: Seconds until workers are notified again of a waiting run: its message may be lost with the data of the broker.
RING_AGAIN_SECONDS = 60.0
REAPER = "reaper"
#: What the history of a run says about the verdict of the gates.
OF_GATES = {
    "passed": "its gates passed",
    "refused": "its gates refused it",
    "undecided": "its gates left it undecided",
}


@dataclass(frozen=True)
class Claimed:
    """A run at the moment of its claim."""

    lease: Lease
    project: str
    state: RunState
    configuration: wire.StoredConfiguration
    recipe: Recipe  # resolved if there is a snapshot
    watermark: int
    reference_checkpoint_id: UUID
    snapshot_id: UUID | None
    shipped_checkpoint_id: UUID  # when the run, or the comparison that it is a part of, was requested
    suites: Sequence[wire.SuiteOfRun] = ()  # those that its evaluation runs
    retries: UUID | None = None  # the run whose saved state it may take over
    kept_spans: bool = False  # whether a recipe that learns from its snapshot weighs what edits kept


@dataclass(frozen=True)
class Report:
    """The progress of a run since the last report. Fields without news are None or empty."""

    done: int | None = None
    total: int | None = None
    eta_seconds: float | None = None
    metrics: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] | None = None
    dropped_rows: Sequence[Mapping[str, Any]] | None = None  # by reason


def claim(session: Session, run_id: UUID, owner: str) -> Claimed | None:
    """Claims the run. Returns None if it cannot be claimed, as after a second delivery of the message."""
    store.hold_briefly(session)
    before = runs.locked(session, run_id)
    if before is None:
        return None
    state, silent = before.state, before.lease_owner
    row = store.claim(session, run_id, owner, settings.current().lease_seconds)
    if row is None:
        return None
    if silent is not None:
        cause, lost = f"worker {silent} fell silent", row.lease_epoch - 1
        if not _may_be_tried_again(row):
            row.lease_epoch = lost  # the attempt of this claim does not begin
            _give_up_lost(session, row, owner, cause)
            return None
        transitions.note(session, row, TransitionKind.SILENT, owner, f"{cause}; it is tried again", attempt=lost)
    reason = f"claimed, attempt {row.lease_epoch}"
    transitions.note(session, row, TransitionKind.CLAIMED, owner, reason, before=state)
    return Claimed(
        Lease(row.id, owner, row.lease_epoch),
        row.project_id,
        RunState(row.state),
        wire.StoredConfiguration.model_validate(row.configuration),
        Recipe.model_validate(row.recipe),
        row.watermark,
        row.reference_checkpoint_id,
        row.snapshot_id,
        store.reference_of_group(session, row) or row.reference_checkpoint_id,
        [wire.SuiteOfRun.model_validate(suite) for suite in row.suites],
        row.source_run_id if row.source == "retry" else None,
        any(recipe.get("edit_kept_weight", 1) < 1 for recipe in store.recipes_of_snapshot(session, row)),
    )


def renew(session: Session, lease: Lease) -> LeasedRun:
    """Renews the lease for another `lease_seconds`. Raises `StaleLease`, as every function with a lease does."""
    return _held(store.renew(session, lease, settings.current().lease_seconds), lease)


def snapshotted(session: Session, lease: Lease, snapshot_id: UUID, recipe: Recipe) -> None:
    """Stores the snapshot, and the recipe that was resolved for it."""
    _held(store.write(session, lease, {"snapshot_id": snapshot_id, "recipe": recipe.model_dump(mode="json")}), lease)


def trained(session: Session, lease: Lease, recipe: Recipe) -> None:
    """Stores the recipe that the trainer used, with the measured values in place of `auto`."""
    _held(store.write(session, lease, {"recipe": recipe.model_dump(mode="json")}), lease)


def shrink(session: Session, lease: Lease, recipe: Recipe, reason: str) -> None:
    """Stores a recipe that needs less memory. The reason is added to the history, and to the warnings until the next
    report replaces them with those of WORKDIR.
    """
    row = locked(session, lease)
    row.recipe = recipe.model_dump(mode="json")
    row.warnings = [*row.warnings, reason]
    transitions.note(session, row, TransitionKind.SHRUNK, lease.owner, reason)


def note(session: Session, lease: Lease, kind: TransitionKind, reason: str) -> None:
    """Adds a row to the history of the run for an observation or action of its worker."""
    transitions.note(session, locked(session, lease), kind, lease.owner, reason)


def keep_said(session: Session, lease: Lease, text: str) -> None:
    """Stores the last output lines of a process that failed."""
    _held(store.write(session, lease, {"said": text}), lease)


def advance(session: Session, lease: Lease, to: RunState) -> RunState:
    """Advances the run to state `to`, unless it is already there, further on, or being cancelled. Returns its state."""
    row = locked(session, lease)
    state = RunState(row.state)
    if state is RunState.CANCELLING or not states.ahead_of(state, to):
        return state
    reset = {"phase_done": 0, "phase_total": 0, "eta_seconds": None}
    transitions.move(session, row, to, TransitionKind.MOVED, lease.owner, "", {**reset, **GOES_ON})
    return to


def report(session: Session, lease: Lease, news: Report) -> None:
    """Stores progress, metrics, warnings and dropped rows."""
    values: dict[str, Any] = {}
    if news.total is not None:
        values |= {"phase_done": news.done, "phase_total": news.total, "eta_seconds": news.eta_seconds}
    if news.warnings is not None:
        values["warnings"] = list(news.warnings)
    if news.dropped_rows is not None:
        values["dropped_rows"] = [dict(reason) for reason in news.dropped_rows]
    if news.metrics:
        store.go_on(session, lease, news.metrics[-1]["step"])
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
    files: Mapping[str, str],
    manifest: Mapping[str, Any],
) -> UUID:
    """Registers the checkpoint, with the verdict of `manifest`, and ends the run, in one transaction. Returns the id of
    the checkpoint.

    Raises `Conflict` if the run is being cancelled.
    """
    row = locked(session, lease)
    states.require(RunState(row.state), RunState.SUCCEEDED, held=True)
    assert row.snapshot_id is not None
    checkpoint = checkpoints.register(
        session,
        project=row.project_id,
        run_id=row.id,
        snapshot_id=row.snapshot_id,
        reference_id=row.reference_checkpoint_id,
        weights_sha256=weights_sha256,
        files=files,
        manifest=manifest,
    )
    reason = f"checkpoint {checkpoint.id}: {OF_GATES[manifest['verdict']]}"
    original = runs.weights_of_source(session, row)
    if original is not None:
        comparison = "the same as" if original == weights_sha256 else "others than"
        reason += f"; its weights are {comparison} those of run {row.source_run_id}"
    ended = {"checkpoint_id": checkpoint.id, "reason": None}
    runs.end(session, row, RunState.SUCCEEDED, lease.owner, reason, ended)
    return checkpoint.id


def fail(session: Session, lease: Lease, reason: str) -> None:
    """Ends the run as failed, or as cancelled if it is being cancelled."""
    _give_up(session, locked(session, lease), lease.owner, reason)


def cancelled(session: Session, lease: Lease) -> None:
    """Ends a run that is being cancelled, after its processes have ended."""
    row = locked(session, lease)
    runs.end(session, row, RunState.CANCELLED, lease.owner, "its processes have ended", {"reason": row.reason})


def release(session: Session, lease: Lease) -> None:
    """Gives the run back with its progress saved. Another worker continues it at once, unless it is paused."""
    row = locked(session, lease)
    if row.state == RunState.CANCELLING:
        return cancelled(session, lease)
    reason = "given back" + (", as it is paused" if row.paused else "")
    transitions.note(session, row, TransitionKind.RETURNED, lease.owner, reason)
    return _free(session, row)


def lose(session: Session, lease: Lease, cause: str) -> None:
    """Gives the run back after a death of its trainer that may be chance. It fails after `run_attempts` such deaths."""
    _lose(session, locked(session, lease), TransitionKind.LOST, lease.owner, cause)


def reap(session: Session) -> int:
    """Takes runs from silent workers, and notifies workers of unclaimed runs. Returns the number of both."""
    store.hold_briefly(session)
    rows = store.silent(session)
    for row in rows:
        condition = Condition(RunState(row.state), row.paused, row.waiting, Hold.SILENT)
        cause = f"worker {row.lease_owner} fell silent"
        match states.MEANINGS[condition].reaping:
            case Reaping.CANCEL:
                runs.end(session, row, RunState.CANCELLED, REAPER, "its worker fell silent", {"reason": row.reason})
            case Reaping.FREE:
                transitions.note(session, row, TransitionKind.SILENT, REAPER, f"{cause}; it is paused")
                _free(session, row)
            case Reaping.LOSE:
                _lose(session, row, TransitionKind.SILENT, REAPER, cause)
    unclaimed = store.unheard(session, RING_AGAIN_SECONDS)
    for row in unclaimed:
        runs.ring(session, row)
    return len(rows) + len(unclaimed)


def _free(session: Session, row: Run) -> None:
    row.lease_owner = row.lease_expires_at = None
    if not row.paused:
        runs.ring(session, row)


def _lose(session: Session, row: Run, kind: TransitionKind, by: str, cause: str) -> None:
    if _may_be_tried_again(row):
        transitions.note(session, row, kind, by, f"{cause}; it is tried again")
        _free(session, row)
    else:
        _give_up_lost(session, row, by, cause)


def _may_be_tried_again(row: Run) -> bool:
    """Counts a lost attempt. Returns whether another one may follow."""
    row.lost += 1
    return row.state != RunState.CANCELLING and row.lost < settings.current().run_attempts


def _give_up_lost(session: Session, row: Run, by: str, cause: str) -> None:
    reason = f"given up after {row.lost} lost attempts, the last one: {cause}"
    _give_up(session, row, by, reason, TransitionKind.GIVEN_UP)


def _give_up(session: Session, row: Run, by: str, reason: str, kind: TransitionKind = TransitionKind.ENDED) -> None:
    if row.state == RunState.CANCELLING:
        runs.end(session, row, RunState.CANCELLED, by, reason, {"reason": row.reason})
    else:
        runs.end(session, row, RunState.FAILED, by, reason, kind=kind)


def _held(standing: LeasedRun | None, lease: Lease) -> LeasedRun:
    if standing is None:
        raise _stale(lease)
    return standing


def _stale(lease: Lease) -> StaleLease:
    return StaleLease(
        f"Run {lease.run_id} is not {lease.owner}'s any more: another worker has it, or it has ended.",
        code="stale_lease",
    )


def locked(session: Session, lease: Lease) -> Run:
    """Returns the run of `lease`, locked until the transaction ends. Raises `StaleLease`."""
    store.hold_briefly(session)
    row = runs.locked(session, lease.run_id)
    if row is None or (row.lease_owner, row.lease_epoch) != (lease.owner, lease.epoch):
        raise _stale(lease)
    return row
