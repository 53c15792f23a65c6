"""Runs: requested, claimed by lease, reported on, ended; and returned to the queue when their worker is lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from thumbwheel import wire

from app import outbox, settings
from app.checkpoints import service as checkpoints
from app.database import now
from app.errors import Conflict, Fault, Invalid, NotFound, Refused, StaleLease
from app.feedback import service as feedback
from app.projects import service as projects
from app.projects.configuration import faults_of_recipe
from app.releases import service as releases
from app.runs import states, store
from app.runs.lease import Lease
from app.runs.recipe import Recipe, recipe_of
from app.runs.states import RunState
from app.runs.tables import Run
from app.schema import Page, key_of_cursor, page_of
from app.snapshots import service as snapshots

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


@dataclass(frozen=True)
class LastRun:
    id: UUID
    state: RunState
    created_at: datetime
    watermark: int


# -- requested and read -----------------------------------------------------------------------------------------------


def recipe_for(configuration: wire.ProjectConfiguration, changes: Mapping[str, Any]) -> Recipe:
    """The project's recipe with `changes` laid over it, not resolved. Raises `Invalid` with a pointer per field."""
    chosen = configuration.recipe
    together = wire.RecipeChoice(preset=chosen.preset, changes={**chosen.changes, **changes})
    faults = [Fault(fault.pointer.removeprefix("/recipe"), fault.message) for fault in faults_of_recipe(together)]
    if faults:
        what = "; ".join(f"{fault.pointer}: {fault.message}" for fault in faults)
        raise Invalid(f"The recipe is wrong: {what}.", code="invalid_recipe", faults=faults)
    return recipe_of(together.preset, together.changes)


def readiness(session: Session, project: str) -> wire.Readiness:
    """Whether a run could start now, and what is missing. Raises `NotFound`."""
    rules = projects.get(session, project).snapshot
    shipped = releases.current(session, project).checkpoint_id
    return _readiness(session, project, rules, feedback.watermark(session, project), shipped)


def request(session: Session, project: str, new: wire.NewRun, by: str, trigger: str) -> wire.Run:
    """Queue a run with everything that decides it, as it is now; a worker is told after the commit.

    Raises `Conflict` where a run is active, `Invalid` for a wrong recipe, `Refused` where the feedback does not do.
    """
    configuration = projects.lock(session, project)
    active = store.active_of(session, project)
    if active is not None:
        raise _run_active(active)
    recipe = recipe_for(configuration, new.changes)
    reference = releases.current(session, project).checkpoint_id
    watermark = feedback.watermark(session, project)
    ready = _readiness(session, project, configuration.snapshot, watermark, reference)
    if not ready.ready:
        raise Refused("A run cannot start yet: " + "; ".join(ready.reasons), code="not_ready", reasons=ready.reasons)
    values = {
        "project_id": project,
        "state": RunState.QUEUED,
        "trigger": f"{trigger}: {new.note}"[:500] if new.note else trigger[:500],
        "configuration": configuration.model_dump(mode="json", include=set(wire.ProjectConfiguration.model_fields)),
        "recipe": recipe.model_dump(mode="json"),
        "watermark": watermark,
        "reference_checkpoint_id": reference,
    }
    try:
        with session.begin_nested():
            row = store.insert_run(session, values)
    except IntegrityError as error:
        # Whoever does not take the project's lock meets the index.
        active = store.active_of(session, project)
        if active is None:
            raise
        raise _run_active(active) from error
    store.add_transition(session, row.id, None, RunState.QUEUED, by, trigger)
    _ring(session, row)
    return _shown(session, [row])[0]


def get(session: Session, project: str, run_id: UUID) -> wire.Run:
    """Raises `NotFound`."""
    return _shown(session, [_require(session, project, run_id)])[0]


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.Run]:
    """The project's runs, newest first."""
    rows = store.newest_first(session, project, key_of_cursor(cursor, UUID), limit + 1)
    shown = {run.id: run for run in _shown(session, rows)}
    return page_of(rows, limit, lambda row: str(row.id), lambda row: shown[row.id])


def metrics(session: Session, project: str, run_id: UUID, *, limit: int) -> wire.Metrics:
    """The run's time series, thinned evenly to about `limit` steps. Raises `NotFound`."""
    run = _require(session, project, run_id)
    return wire.Metrics(run_id=run.id, steps=store.metrics_of(session, run.id, limit))


def last(session: Session, project: str) -> LastRun | None:
    """The project's newest run, however it ended."""
    row = store.newest_of(session, project)
    return None if row is None else LastRun(row.id, RunState(row.state), row.created_at, row.watermark)


def cancel(session: Session, project: str, run_id: UUID, by: str) -> wire.Run:
    """Have the run end; its worker sees it within a second or two. Once more changes nothing.

    Raises `NotFound`, and `Conflict` where the run has ended otherwise.
    """
    _require(session, project, run_id)
    row = store.locked(session, run_id)
    assert row is not None
    state = RunState(row.state)
    if state not in (RunState.CANCELLING, RunState.CANCELLED):
        reason = f"cancelled by {by}"
        if state is not RunState.QUEUED:
            _move(session, row, RunState.CANCELLING, by, reason, {"reason": reason})
        if row.lease_expires_at is None:  # no worker has it
            _end(session, row, RunState.CANCELLED, by, reason)
    return get(session, project, run_id)


# -- by the worker that holds the lease -------------------------------------------------------------------------------


def claim(session: Session, run_id: UUID, owner: str) -> Claimed | None:
    """Take the run; None where there is nothing to take. A second delivery of the message finds just that."""
    row = store.claim(session, run_id, owner, settings.current().lease_seconds)
    if row is None:
        return None
    if row.state == RunState.QUEUED:
        _move(session, row, RunState.SNAPSHOTTING, owner, "claimed")
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


def advance(session: Session, lease: Lease, to: RunState) -> RunState:
    """Move the run on to `to`; a run that is there, further on or being cancelled stays. Its state."""
    row = _locked(session, lease)
    state = RunState(row.state)
    if state is RunState.CANCELLING or not states.ahead_of(state, to):
        return state
    _move(session, row, to, lease.owner, "", {"phase_done": 0, "phase_total": 0, "eta_seconds": None})
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
    _end(
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
    _end(session, row, RunState.CANCELLED, lease.owner, "its processes have ended", {"reason": row.reason})


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
            _end(session, row, RunState.CANCELLED, REAPER, "its worker fell silent", {"reason": row.reason})
        else:
            _lose(session, row, REAPER, f"worker {row.lease_owner} fell silent")
    unheard = store.unheard(session, RING_AGAIN_SECONDS)
    for row in unheard:
        _ring(session, row)
    return len(rows) + len(unheard)


# -- inside -----------------------------------------------------------------------------------------------------------


def _readiness(
    session: Session, project: str, rules: wire.SnapshotRules, watermark: int, shipped: UUID
) -> wire.Readiness:
    before = last(session, project)
    return snapshots.readiness(
        session,
        project,
        rules,
        watermark=watermark,
        since=before.watermark if before else 0,
        shipped_checkpoint_id=shipped,
    )


def _ring(session: Session, row: Run) -> None:
    """Have a worker look at the run."""
    row.rung_at = now()
    outbox.put(session, "worker.tasks.look_at_run", {"run_id": str(row.id)}, queue=outbox.RUNS)


def _free(session: Session, row: Run) -> None:
    row.lease_owner = row.lease_expires_at = None
    _ring(session, row)


def _lose(session: Session, row: Run, by: str, cause: str) -> None:
    row.lost += 1
    if row.state != RunState.CANCELLING and row.lost < settings.current().run_attempts:
        store.add_transition(
            session, row.id, RunState(row.state), RunState(row.state), by, f"{cause}; it is tried again"
        )
        _free(session, row)
    else:
        _give_up(session, row, by, f"given up after {row.lost} lost attempts, the last one: {cause}")


def _give_up(session: Session, row: Run, by: str, reason: str) -> None:
    if row.state == RunState.CANCELLING:
        _end(session, row, RunState.CANCELLED, by, reason, {"reason": row.reason})
    else:
        _end(session, row, RunState.FAILED, by, reason)


def _end(
    session: Session, row: Run, to: RunState, by: str, reason: str, values: Mapping[str, Any] | None = None
) -> None:
    ended = {"reason": reason, "finished_at": now(), "lease_owner": None, "lease_expires_at": None}
    _move(session, row, to, by, reason, {**ended, "eta_seconds": None, **(values or {})})


def _move(
    session: Session, row: Run, to: RunState, by: str, reason: str, values: Mapping[str, Any] | None = None
) -> None:
    """Raises `Conflict` where `to` may not follow, or somebody was quicker."""
    before = RunState(row.state)
    states.require(before, to)
    session.flush()
    if not store.move(session, row.id, before, to, dict(values or {})):
        raise Conflict(f"Run {row.id} is {before} no more: look again.", code="illegal_transition")
    store.add_transition(session, row.id, before, to, by, reason)
    session.refresh(row)


def _locked(session: Session, lease: Lease) -> Run:
    """The run of `lease`, held until the transaction ends."""
    row = store.locked(session, lease.run_id)
    if row is None or (row.lease_owner, row.lease_epoch) != (lease.owner, lease.epoch):
        raise _stale(lease)
    return row


def _held(state: RunState | None, lease: Lease) -> RunState:
    if state is None:
        raise _stale(lease)
    return state


def _stale(lease: Lease) -> StaleLease:
    return StaleLease(
        f"Run {lease.run_id} is not {lease.owner}'s any more: another worker has it, or it has ended.",
        code="stale_lease",
    )


def _run_active(run_id: UUID) -> Conflict:
    return Conflict(
        f"Run {run_id} is active: wait for its end, or cancel it.",
        code="run_active",
        details={"active_run_id": str(run_id)},
    )


def _require(session: Session, project: str, run_id: UUID) -> Run:
    row = store.of_id(session, project, run_id)
    if row is None:
        raise NotFound(f"Project {project} has no run {run_id}.", code="run_not_found")
    return row


def _shown(session: Session, rows: Sequence[Run]) -> list[wire.Run]:
    history: dict[UUID, list[wire.RunTransition]] = {row.id: [] for row in rows}
    for transition in store.transitions_of(session, history):
        history[transition.run_id].append(wire.RunTransition.model_validate(transition))
    derived = {"project", "attempts", "transitions"}
    return [
        wire.Run.model_validate(
            {
                **{name: getattr(row, name) for name in wire.Run.model_fields if name not in derived},
                "project": row.project_id,
                "attempts": row.lease_epoch,
                "transitions": history[row.id],
            }
        )
        for row in rows
    ]
