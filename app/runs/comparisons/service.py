"""Requests comparisons and sweeps, and requests their runs one after another.

A job has a list of trials. `look_at` requests the run of the next trial once the one before it has ended; it is called
by a message at the end of each run, and by the tick. It holds the job's row, and a trial gets one run at most, so any
number of calls has the effect of one. The first run builds the snapshot, unless the job names one; the others use it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire
from thumbwheel.wire.recipe import Recipe
from thumbwheel.wire.recipe_resolution import resolve

from app.access.operator_log import service as operator_log
from app.checkpoints import service as checkpoints
from app.database import now, transaction
from app.errors import Conflict, NotFound
from app.pages import Page, key_of_cursor, page_of
from app.projects import service as projects
from app.runs import commands, states
from app.runs import service as runs
from app.runs.comparisons import report, store
from app.runs.comparisons.differences import Checkpoints
from app.runs.comparisons.planning import planned
from app.runs.comparisons.search import Scored
from app.runs.comparisons.snapshot_rows import train_weights
from app.runs.comparisons.trials import Halving, next_rung, trials_of
from app.runs.states import RunState
from app.runs.tables import ComparisonJob, Run
from app.snapshots.reading import service as reading
from app.suites.versions import service as suites

log = logging.getLogger(__name__)

#: The largest number of jobs of a project that have not ended.
MOST_RUNNING = 4


def request(session: Session, project: str, new: wire.NewComparison | wire.NewSweep, by: str) -> wire.ComparisonJob:
    """Stores a job with everything that decides its runs, as it is now, and requests the first run.

    The run waits its turn if another run of the project is active. Raises `Invalid` for wrong arms, points or budgets,
    `Refused` if the feedback is not sufficient for an arm, `Conflict` if too many jobs are running, and `NotFound`.
    """
    configuration = projects.lock(session, project)
    projects.require_open(session, project)
    if store.count_running(session, project) >= MOST_RUNNING:
        raise Conflict(
            f"{MOST_RUNNING} comparisons and sweeps of {project} are running: wait until one has ended, or cancel one.",
            code="too_many_comparisons",
        )
    plan = planned(session, configuration, new)
    row = store.insert_job(
        session,
        {
            "project_id": project,
            "kind": "sweep" if isinstance(new, wire.NewSweep) else "comparison",
            "state": "running",
            "by": by,
            "note": new.note,
            "request": new.model_dump(mode="json"),
            "configuration": configuration.model_dump(mode="json", include=set(wire.StoredConfiguration.model_fields)),
            "suites": suites.for_run(session, project),
            "watermark": plan.watermark,
            "reference_checkpoint_id": plan.reference,
            "snapshot_id": new.snapshot_id,
            "kl_budget": plan.kl_budget,
            "arms": plan.arms,
            "trials": plan.trials,
        },
    )
    operator_log.note(session, comparison_id=row.id)
    _start(session, row, 0, [])
    return get(session, project, row.id)


def get(session: Session, project: str, job_id: UUID) -> wire.ComparisonJob:
    """Returns the job with the figures of its arms so far. Raises `NotFound`."""
    row = store.of_id(session, project, job_id)
    if row is None:
        raise NotFound(f"Project {project} has no comparison {job_id}.", code="comparison_not_found")
    return _shown(session, [row])[0]


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.ComparisonJob]:
    """Returns a page of the project's comparisons and sweeps, newest first."""
    rows = store.newest_first(session, project, key_of_cursor(cursor, UUID), limit + 1)
    shown = {job.id: job for job in _shown(session, rows)}
    return page_of(rows, limit, lambda row: str(row.id), lambda row: shown[row.id])


def cancel(session: Session, project: str, job_id: UUID, by: str) -> wire.ComparisonJob:
    """Ends the job and cancels its runs. A second call changes nothing. Raises `NotFound`, and `Conflict` if the job
    has succeeded or failed.
    """
    get(session, project, job_id)
    row = store.locked(session, job_id)
    assert row is not None
    if row.state in ("succeeded", "failed"):
        raise Conflict(f"The {row.kind} has {row.state} and cannot be cancelled.", code="illegal_transition")
    if row.state == "running":
        for run in store.runs_of(session, [row.id]):
            if RunState(run.state) not in states.TERMINAL:
                commands.cancel(session, project, run.id, by)
        session.flush()
        children = store.runs_of(session, [row.id])
        result = report.result_of(row, children, _checkpoints(session, row, children), with_samples=False)
        _end(session, row, "cancelled", f"cancelled by {by}", result)
    return get(session, project, job_id)


def snapshots_in_use(session: Session, project: str) -> set[UUID]:
    """Returns the snapshots of the project's jobs that have not ended."""
    return store.snapshots_of_running(session, project)


def look_at_all() -> None:
    """Looks at every job that has not ended, each in a transaction of its own. A failure does not stop the others."""
    with transaction() as session:
        job_ids = store.running(session)
    for job_id in job_ids:
        try:
            look_at(job_id)
        except Exception:
            log.exception("comparison %s could not be looked at, trying again", job_id)


def look_at(job_id: UUID) -> None:
    """Requests the job's next run if it is due, or ends the job.

    The artifacts that its result needs are read between two transactions, so that nothing is locked meanwhile.
    """
    with transaction() as session:
        row = store.locked(session, job_id)
        ending = _advance(session, row) if row is not None and row.state == "running" else None
    if ending is None:
        return
    result = report.result_of(ending.job, ending.children, ending.checkpoints, with_samples=True)
    with transaction() as session:
        row = store.locked(session, job_id)
        if row is not None and row.state == "running":
            _end(session, row, ending.state, ending.reason, result)


@dataclass(frozen=True)
class _Ending:
    """The end of a job, with the rows that its result is made of."""

    state: str
    reason: str | None
    job: ComparisonJob
    children: Sequence[Run]
    checkpoints: Checkpoints


def _advance(session: Session, row: ComparisonJob) -> _Ending | None:
    """Requests the next run if it is due; returns the end of the job if none is left."""
    children = store.runs_of(session, [row.id])
    active = any(RunState(run.state) not in states.TERMINAL for run in children)
    if active or projects.try_lock(session, row.project_id) is None:  # the next tick goes on
        return None
    if row.snapshot_id is None:
        row.snapshot_id = next((run.snapshot_id for run in children if run.snapshot_id is not None), None)
    if len(children) == len(row.trials):
        row.trials = [*row.trials, *_next_trials(session, row, children)]
    session.flush()

    def ending(state: str, reason: str | None) -> _Ending:
        return _Ending(state, reason, row, children, _checkpoints(session, row, children))

    if len(children) < len(row.trials):
        if _is_redacted(session, row):
            return ending(
                "failed", f"rows of its snapshot {row.snapshot_id} were deleted: request it again, on what is left"
            )
        _start(session, row, len(children), children)
        return None
    if any(run.state == RunState.SUCCEEDED for run in children):
        return ending("succeeded", None)
    return ending("failed", f"none of its {len(children)} runs succeeded; the last one: {children[-1].reason}")


def _is_redacted(session: Session, row: ComparisonJob) -> bool:
    if row.snapshot_id is None:
        return False
    return reading.get(session, row.project_id, row.snapshot_id).redacted_at is not None


def _start(session: Session, row: ComparisonJob, position: int, children: Sequence[Run]) -> None:
    """Requests the run of the trial at `position`, after those before it. The caller holds the project's lock."""
    trial = row.trials[position]
    arm = row.arms[trial["arm"]]
    own_reference = arm.get("reference_checkpoint_id")
    reference = row.reference_checkpoint_id if own_reference is None else UUID(own_reference)
    recipe = Recipe.model_validate(trial["recipe"])
    examples = next((each["few_shots"] for each in row.arms if "few_shots" in each), 0)
    if examples and own_reference is None and not _is_measured(row, children):
        evaluation = recipe.evaluation.model_copy(update={"few_shots": examples})
        recipe = recipe.model_copy(update={"evaluation": evaluation})
    if row.snapshot_id is not None:
        recipe = resolve(recipe, *train_weights(reading.get(session, row.project_id, row.snapshot_id).manifest))
    decided = {
        "configuration": row.configuration,
        "suites": row.suites,
        "recipe": recipe.model_dump(mode="json"),
        "changes": arm["changes"],
        "watermark": row.watermark,
        "reference_checkpoint_id": reference,
        "snapshot_id": row.snapshot_id,
        "group_id": row.id,
        "group_position": position,
    }
    trigger = f"{row.kind} {row.id}, arm {arm['name']}, seed {trial['seed']}"
    if _halving(row) is not None:
        trigger += f", rung {trial['rung'] + 1}"
    runs.enqueue(session, row.project_id, decided, row.by, trigger, note=None, queue=True)


def _is_measured(row: ComparisonJob, children: Sequence[Run]) -> bool:
    """Returns whether a run has measured the arms that are not trained: the first that succeeds with the job's
    reference.
    """
    return any(
        run.state == RunState.SUCCEEDED and run.reference_checkpoint_id == row.reference_checkpoint_id
        for run in children
    )


def _next_trials(session: Session, row: ComparisonJob, children: Sequence[Run]) -> list[dict[str, Any]]:
    """Returns the trials of the next rung of a halving; none if the job has no further rung."""
    halving = _halving(row)
    if halving is None:
        return []
    rung = row.trials[-1]["rung"]
    arms = report.arms_of(row, children, _checkpoints(session, row, children))
    competing = dict.fromkeys(trial["arm"] for trial in row.trials if trial["rung"] == rung)
    scored = [Scored(arm, arms[arm].auroc.value, arms[arm].kl_nats_per_token.high) for arm in competing]
    further = next_rung(scored, len(row.arms), rung, halving, row.kl_budget)
    recipes = [arm["recipe"] for arm in row.arms]
    return trials_of(recipes, further, row.request["seeds"], rung + 1, halving) if further else []


def _halving(row: ComparisonJob) -> Halving | None:
    request = row.request
    if request.get("search") != "halving":
        return None
    return Halving(tuple(request["rungs"]), request["resource"], request["keep"])


def _end(session: Session, row: ComparisonJob, state: str, reason: str | None, result: dict[str, Any]) -> None:
    row.result = result
    row.state, row.reason, row.finished_at = state, reason, now()
    session.flush()


def _checkpoints(session: Session, row: ComparisonJob, children: Sequence[Run]) -> dict[UUID, wire.Checkpoint]:
    registered = [run.checkpoint_id for run in children if run.checkpoint_id is not None]
    return checkpoints.of_ids(session, row.project_id, registered)


def _shown(session: Session, rows: Sequence[ComparisonJob]) -> list[wire.ComparisonJob]:
    children = store.runs_of(session, [row.id for row in rows])
    shown = []
    for row in rows:
        own = [run for run in children if run.group_id == row.id]
        result = row.result
        if result is None:
            result = report.result_of(row, own, _checkpoints(session, row, own), with_samples=False)
        shown.append(report.shown(row, own, result))
    return shown
