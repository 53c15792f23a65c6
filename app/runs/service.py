"""Runs: requested, read, cancelled, and moved from state to state. Workers write to them by `app.runs.leases`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from thumbwheel import wire

from app import outbox
from app.database import now
from app.errors import Conflict, Fault, Invalid, NotFound, Refused
from app.feedback import service as feedback
from app.labels.audits import service as audits
from app.labels.policies import service as policies
from app.projects import service as projects
from app.projects.configuration import faults_of_recipe
from app.releases import service as releases
from app.runs import states, store
from app.runs.recipe import ObjectiveName, Recipe, recipe_of
from app.runs.states import RunState
from app.runs.tables import Run
from app.schema import Page, key_of_cursor, page_of
from app.snapshots.readiness import service as snapshots


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
    configuration = projects.get(session, project)
    shipped = releases.current(session, project).checkpoint_id
    objective = recipe_for(configuration, {}).objective
    return _readiness(session, configuration, objective, feedback.watermark(session, project), shipped)


def readiness_reaches(session: Session, project: str) -> int:
    """Up to where in the log `readiness` looks now."""
    return snapshots.reach(session, project, feedback.watermark(session, project))


def look_ahead(session: Session, project: str) -> bool:
    """Find out anew, for a large log, whether a run could start; whether there was something to find."""
    if not snapshots.is_large(session, project):
        return False
    configuration = projects.get(session, project)
    before = last(session, project)
    return snapshots.refresh(
        session,
        project,
        configuration.snapshot,
        watermark=feedback.watermark(session, project),
        since=before.watermark if before else 0,
        shipped_checkpoint_id=releases.current(session, project).checkpoint_id,
    )


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
    ready = _readiness(session, configuration, recipe.objective, watermark, reference)
    if not ready.ready and ready.watermark < watermark:  # of a large log that goes on
        ready = _readiness(session, configuration, recipe.objective, watermark, reference, anew=True)
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
    ring(session, row)
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
            move(session, row, RunState.CANCELLING, by, reason, {"reason": reason})
        if row.lease_expires_at is None:  # no worker has it
            end(session, row, RunState.CANCELLED, by, reason)
    return get(session, project, run_id)


# -- moved from state to state ----------------------------------------------------------------------------------------


def locked(session: Session, run_id: UUID) -> Run | None:
    """The run as it is now, held until the transaction ends."""
    return store.locked(session, run_id)


def note(session: Session, row: Run, by: str, reason: str) -> None:
    """Write into the run's history that something happened which left its state."""
    store.add_transition(session, row.id, RunState(row.state), RunState(row.state), by, reason)


def ring(session: Session, row: Run) -> None:
    """Have a worker look at the run."""
    row.rung_at = now()
    outbox.put(session, "worker.tasks.look_at_run", {"run_id": str(row.id)}, queue=outbox.RUNS)


def end(
    session: Session, row: Run, to: RunState, by: str, reason: str, values: Mapping[str, Any] | None = None
) -> None:
    ended = {"reason": reason, "finished_at": now(), "lease_owner": None, "lease_expires_at": None}
    move(session, row, to, by, reason, {**ended, "eta_seconds": None, **(values or {})})


def move(
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


# -- inside -----------------------------------------------------------------------------------------------------------


def _readiness(
    session: Session,
    configuration: wire.Project,
    objective: ObjectiveName,
    watermark: int,
    shipped: UUID,
    *,
    anew: bool = False,
) -> wire.Readiness:
    project = configuration.project
    before = last(session, project)
    found = snapshots.readiness(
        session,
        project,
        configuration.snapshot,
        objective,
        watermark=watermark,
        since=before.watermark if before else 0,
        shipped_checkpoint_id=shipped,
        anew=anew,
    )
    reasons = [*found.reasons, *audits.reasons_to_refuse(session, project, policies.adopted(session, project))]
    return found.model_copy(update={"ready": not reasons, "reasons": reasons})


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
