"""Requests runs, reads them, and moves them from state to state. Workers write to them through `app.runs.leases`;
operators command them through `app.runs.commands`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from thumbwheel import wire

from app import messages, outbox
from app.checkpoints.unknown import service as unknown
from app.database import now
from app.errors import Conflict, Invalid, NotFound, Refused
from app.feedback import service as feedback
from app.pages import Page, key_of_cursor, page_of
from app.projects import service as projects
from app.readiness.service import is_large, reach, refresh
from app.releases import service as releases
from app.runs import decision, store
from app.runs.states import RunState, TransitionKind
from app.runs.tables import GOES_ON, Run
from app.runs.transitions import service as transitions
from app.serving import service as serving

#: The actor in the history when a waiting run gets its turn.
THUMBWHEEL = "thumbwheel"


@dataclass(frozen=True)
class LastRun:
    id: UUID
    state: RunState
    created_at: datetime
    watermark: int


# -- requests and reading ---------------------------------------------------------------------------------------------


def readiness(session: Session, project: str) -> wire.Readiness:
    """Returns whether a run could start now, and what is missing. Raises `NotFound`."""
    configuration = projects.get(session, project)
    shipped = releases.current(session, project).checkpoint_id
    recipe = decision.recipe_for(configuration, {})
    watermark = feedback.watermark(session, project)
    ready = decision.readiness_of(session, configuration, recipe, watermark, shipped, since=_since(session, project))
    unknown_checkpoints = unknown.unknown_checkpoints(session, project)
    notices = [*ready.notices, *unknown.notices(unknown_checkpoints)]
    ready = ready.model_copy(update={"unknown_checkpoints": unknown_checkpoints, "notices": notices})
    return serving.with_targets(session, project, recipe, ready)


def readiness_reaches(session: Session, project: str) -> int:
    """Returns the position in the log up to which `readiness` looks now."""
    return reach(session, project, feedback.watermark(session, project))


def look_ahead(session: Session, project: str) -> bool:
    """Computes in advance, for a large log, whether a run could start. Returns whether there was anything new."""
    if not is_large(session, project):
        return False
    configuration = projects.get(session, project)
    return refresh(
        session,
        project,
        configuration.snapshot,
        watermark=feedback.watermark(session, project),
        since=_since(session, project),
        shipped_checkpoint_id=releases.current(session, project).checkpoint_id,
    )


def request(session: Session, project: str, new: wire.NewRun, by: str, trigger: str) -> wire.Run:
    """Queues a run with everything that decides it, as it is now. A worker gets the message after the commit.

    While another run is active and `new.queue` is set, the run waits behind it, and is decided again when its turn
    comes. If a large log had too little feedback when it was last read, and has grown since, the worker decides when it
    builds the snapshot. Raises `Conflict` if a run is active, `Invalid` for a wrong recipe, `Refused` if the feedback
    is not sufficient, and `Unavailable` if a large log is yet to be read.
    """
    configuration = projects.lock(session, project)
    projects.require_open(session, project)
    active = store.active_of(session, project)
    if active is not None and not new.queue:
        raise _run_active(active)
    changes = new.changes.given()
    recipe = decision.recipe_for(configuration, changes)
    serving.require_servable(session, project, recipe)
    reference = releases.current(session, project).checkpoint_id
    watermark = feedback.watermark(session, project)
    decision.require_audited(session, project)
    ready = decision.readiness_of(session, configuration, recipe, watermark, reference, since=_since(session, project))
    if not ready.ready and ready.watermark == watermark:
        raise Refused("A run cannot start yet: " + "; ".join(ready.reasons), code="not_ready", reasons=ready.reasons)
    decided = decision.decided(session, configuration, recipe, watermark, reference) | {"changes": changes}
    return enqueue(session, project, decided, by, trigger, note=new.note, queue=new.queue)


def enqueue(
    session: Session,
    project: str,
    decided: Mapping[str, Any],
    by: str,
    trigger: str,
    *,
    note: str | None,
    queue: bool,
) -> wire.Run:
    """Inserts a run with the columns `decided`, and notifies the workers. The caller holds the lock of the project.

    queue  lets the run wait behind an active one; without it an active run raises `Conflict`
    """
    active = store.active_of(session, project)
    if active is not None and not queue:
        raise _run_active(active)
    values = {
        **decided,
        "project_id": project,
        "state": RunState.QUEUED,
        "trigger": f"{trigger}: {note}"[:500] if note else trigger[:500],
        "waiting": active is not None,
    }
    try:
        with session.begin_nested():
            row = store.insert_run(session, values)
    except IntegrityError as error:
        # A writer without the lock of the project violates the unique index.
        active = store.active_of(session, project)
        if active is None:
            raise
        raise _run_active(active) from error
    if row.waiting:
        transitions.begin(session, row, TransitionKind.WAITS, by, f"{trigger}; it waits behind run {active}")
    else:
        transitions.begin(session, row, TransitionKind.REQUESTED, by, trigger)
        ring(session, row)
    return _shown(session, [row])[0]


def get(session: Session, project: str, run_id: UUID) -> wire.Run:
    """Returns the run with its history. Raises `NotFound`."""
    return _shown(session, [_require(session, project, run_id)])[0]


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.Run]:
    """Returns a page of the project's runs, newest first."""
    rows = store.newest_first(session, project, key_of_cursor(cursor, UUID), limit + 1)
    shown = {run.id: run for run in _shown(session, rows)}
    return page_of(rows, limit, lambda row: str(row.id), lambda row: shown[row.id])


def metrics(session: Session, project: str, run_id: UUID, *, limit: int) -> wire.Metrics:
    """Returns the time series of the run, thinned evenly to about `limit` steps. Raises `NotFound`."""
    run = _require(session, project, run_id)
    return wire.Metrics(run_id=run.id, steps=store.metrics_of(session, run.id, limit))


def active(session: Session, project: str) -> UUID | None:
    """Returns the id of the project's active run, also one of a comparison; None if there is none."""
    return store.active_of(session, project)


def last(session: Session, project: str) -> LastRun | None:
    """Returns the newest run that has had its turn, in any state, with the highest watermark of the project's runs.
    Runs of comparisons do not count: labels that only they have learnt from are still new."""
    row = store.newest_of(session, project)
    if row is None:
        return None
    return LastRun(row.id, RunState(row.state), row.created_at, _since(session, project))


def ended_before(session: Session, run_ids: Collection[UUID], moment: datetime) -> list[UUID]:
    """Returns the ids of those runs that ended before `moment`."""
    return list(store.ended_before(session, run_ids, moment))


# -- from state to state ----------------------------------------------------------------------------------------------


def locked(session: Session, run_id: UUID) -> Run | None:
    """Returns the current row of the run, locked until the transaction ends; None if there is none."""
    return store.locked(session, run_id)


def require_locked(session: Session, project: str, run_id: UUID) -> Run:
    """Returns the current row of the run, locked until the transaction ends. Raises `NotFound`."""
    _require(session, project, run_id)
    row = store.locked(session, run_id)
    assert row is not None
    return row


def ring(session: Session, row: Run) -> None:
    """Notifies the workers to look at the run, once the transaction has committed."""
    row.rung_at = now()
    outbox.put(session, messages.LOOK_AT_RUN, run_id=row.id)


def end(
    session: Session,
    row: Run,
    to: RunState,
    by: str,
    reason: str,
    values: Mapping[str, Any] | None = None,
    *,
    kind: TransitionKind = TransitionKind.ENDED,
) -> None:
    """Ends the run, and gives the next waiting run of the project its turn.

    The project is locked only if no other transaction holds it. A transaction that builds a snapshot holds the project
    and then writes to its run, so waiting here could deadlock. The next tick catches up.
    """
    waited = row.waiting
    ended = {"reason": reason, "finished_at": now(), "lease_owner": None, "lease_expires_at": None, "paused": False}
    ended |= {"waiting": False, "eta_seconds": None, **GOES_ON}
    transitions.move(session, row, to, kind, by, reason, {**ended, **(values or {})})
    if row.group_id is not None:
        outbox.put(session, messages.LOOK_AT_COMPARISON, comparison_id=row.group_id)
    if not waited:
        let_next_go(session, row.project_id)


def let_waiting_go(session: Session) -> None:
    """Gives a turn to the next waiting run of each project that has no active run, because that turn was missed."""
    for project in store.stuck_projects(session):
        let_next_go(session, project)


def let_next_go(session: Session, project: str) -> None:
    """Gives the longest waiting run its turn, unless a run is active or another transaction holds the project.

    The current project decides the run, unless it repeats one or is part of a comparison. A run that can no longer
    start fails.
    """
    configuration = projects.try_lock(session, project)
    while configuration is not None and store.active_of(session, project) is None:
        row = store.next_waiting(session, project)
        if row is None:
            return
        try:
            decided = {} if row.source or row.group_id else decision.decided_now(session, configuration, row.changes)
        except (Invalid, Refused) as refusal:
            reason = f"its turn came, but it cannot start any more: {refusal.message}"
            end(session, row, RunState.FAILED, THUMBWHEEL, reason)
            continue
        for name, value in ({"waiting": False} | decided).items():
            setattr(row, name, value)
        session.flush()
        transitions.note(session, row, TransitionKind.TURN, THUMBWHEEL, "its turn has come")
        ring(session, row)
        return


# -- inside -----------------------------------------------------------------------------------------------------------


def _since(session: Session, project: str) -> int:
    """Returns the position in the log after which labels are new."""
    return store.highest_watermark(session, project) or 0


def _run_active(run_id: UUID) -> Conflict:
    return Conflict(
        f"Run {run_id} is active: wait for its end, cancel it, or ask for this one with `queue`.",
        code="run_active",
        details={"active_run_id": str(run_id)},
    )


def _require(session: Session, project: str, run_id: UUID) -> Run:
    row = store.of_id(session, project, run_id)
    if row is None:
        raise NotFound(f"Project {project} has no run {run_id}.", code="run_not_found")
    return row


def weights_of_source(session: Session, row: Run) -> str | None:
    """Returns the SHA-256 of the weights that `row` is to reproduce; None if it is not a reproduction."""
    return store.weights_of_sources(session, [row.id]).get(row.id, (None, None))[1]


def _shown(session: Session, rows: Sequence[Run]) -> list[wire.Run]:
    history = transitions.histories(session, (row.id for row in rows))
    weights = store.weights_of_sources(session, history)
    derived = {"project", "attempts", "transitions", "reproduces"}
    return [
        wire.Run.model_validate(
            {
                **{name: getattr(row, name) for name in wire.Run.model_fields if name not in derived},
                "project": row.project_id,
                "attempts": row.lease_epoch,
                "transitions": history[row.id],
                "reproduces": None if None in (pair := weights.get(row.id, (None,))) else len(set(pair)) == 1,
            }
        )
        for row in rows
    ]
