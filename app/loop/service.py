"""The loop: background work that is done every few seconds.

    runs of silent workers are requeued ─▶ waiting runs continue ─▶ comparisons request their next run
        ─▶ due erasures, expired months, webhooks, serving targets and imports are looked at
        ─▶ for each project: start a run if due, measure new releases, summarise new events, group new prompts, take a
        release back if its policy says so

A decision rests on a few facts (`_basis`). While they stay the same, so does the decision, and no label is resolved: a
run that was refused, or that failed, is not started again until something has changed.
"""

import logging
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.checkpoints.unknown import service as unknown
from app.database import now, transaction
from app.errors import Conflict, Invalid, Refused, ThumbwheelError
from app.feedback import service as feedback
from app.feedback.import_jobs import service as imports
from app.idempotency import service as idempotency
from app.labels.summaries import service as summaries
from app.loop import store
from app.loop.triggers import Decision, TriggerFacts, decide, due
from app.monitoring import service as monitoring
from app.monitoring.approval import service as approval
from app.monitoring.rollback import service as rollback
from app.pages import MAX_INT8, Page, key_of_cursor, number_up_to, page_of
from app.privacy.erasures import service as erasures
from app.privacy.retention import service as retention
from app.projects import service as projects
from app.releases import service as releases
from app.runs import service as runs
from app.runs.comparisons import service as comparisons
from app.runs.decision import recipe_for
from app.runs.leases import service as leases
from app.runs.states import RunState
from app.serving import service as serving
from app.snapshots.prompts import service as prompts
from app.webhooks.deliveries import service as webhooks

log = logging.getLogger(__name__)

ENDED_BADLY = {RunState.FAILED: "failed", RunState.CANCELLED: "was cancelled"}


def tick() -> None:
    """Runs one round, in transactions of its own. A project whose decision fails does not stop the others."""
    with transaction() as session:
        leases.reap(session)
    with transaction() as session:
        runs.let_waiting_go(session)
        idempotency.forget(session)
    comparisons.look_at_all()
    with transaction() as session:
        erasures.ring_due(session)
    _expire()
    with transaction() as session:
        webhooks.ring_due(session)
        webhooks.forget(session)
    with transaction() as session:
        serving.ring_due(session)
    _look_at_imports()
    _make_room()
    with transaction() as session:
        project_ids = projects.ids(session)
    for project in project_ids:
        try:
            with transaction() as session:
                unknown.count(session, project)
            with transaction() as session:
                runs.look_ahead(session, project)
            look_at(project)
        except Exception:
            log.exception("no decision could be made about project %s, trying again", project)
        _read_new(project)
        _roll_back(project)
    with transaction() as session:
        store.record_tick(session)


def last_tick(session: Session) -> datetime | None:
    """Returns the end of the last round, or None before the first one."""
    return store.last_tick(session)


def _look_at_imports() -> None:
    """Has workers continue imports, and deletes files of ended ones. A store that is away does not stop the loop."""
    with transaction() as session:
        imports.ring_due(session)
    try:
        with transaction() as session:
            imports.forget(session)
    except Exception:
        log.exception("the files of ended imports could not be deleted, trying again")


def _make_room() -> None:
    """Creates the log's partitions for the months ahead. A failure does not stop the loop: events are stored anyway."""
    try:
        with transaction() as session:
            feedback.keep_months_ahead(session)
    except Exception:
        log.exception("no partition of the feedback log could be created for the months ahead, trying again")


def _expire() -> None:
    """Begins to delete the months that projects no longer keep. A failure does not stop the loop."""
    try:
        with transaction() as session:
            retention.plan(session)
        with transaction() as session:
            retention.ring_due(session)
    except Exception:
        log.exception("no month of the feedback log could be looked at for its retention, trying again")


def _read_new(project: str) -> None:
    """Measures new releases, reads new events of a log into its summary and the figures of its releases, and stores the
    groups of its new prompts, so that requests need not work them out. A failure does not stop the loop.
    """
    try:
        _measure(project)
        with transaction() as session:
            approval.count_exposures(session, project)
        with transaction() as session:
            approval.read(session, project)
        with transaction() as session:
            prompts.place(session, project, summaries.read_up_to(session, project))
    except Exception:
        log.exception("the log of project %s could not be read, trying again", project)


def _roll_back(project: str) -> None:
    """Takes a release back if the project's policy says so. If that fails, the next round tries again."""
    try:
        with transaction() as session:
            rollback.act(session, project)
    except ThumbwheelError as error:
        log.warning("the release of project %s could not be taken back, trying again: %s", project, error.message)
        with transaction() as session:
            rollback.failed(session, project, error.message)
    except Exception:
        log.exception("no decision could be made about the release of project %s, trying again", project)


def _measure(project: str) -> None:
    """Measures the releases since the last round, each in a transaction of its own, and counts the events that wait."""
    measuring = True
    while measuring:
        with transaction() as session:
            measuring = monitoring.measure(session, project)
    with transaction() as session:
        monitoring.count_waiting(session, project)


def look_at(project: str) -> None:
    """Starts a run of the project if it is due, and stores the decision with its reason."""
    try:
        with transaction() as session:
            _decide(session, project)
    except (Refused, Conflict, Invalid) as refusal:
        # A run was due but refused, and that transaction was rolled back.
        with transaction() as session:
            configuration = projects.lock(session, project)
            reason = f"due, but refused: {refusal.message}"
            _keep(session, project, Decision(start=False, reason=reason), _basis(session, configuration), None)


def decisions(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.TriggerDecision]:
    """Returns the decisions about the project, newest first."""
    rows = store.newest_first(session, project, key_of_cursor(cursor, number_up_to(MAX_INT8)), limit + 1)
    return page_of(rows, limit, lambda row: str(row.id), wire.TriggerDecision.model_validate)


def _decide(session: Session, project: str) -> None:
    configuration = projects.lock(session, project)
    rules = configuration.trigger
    if rules.new_per_class is None and rules.every_hours is None:
        return
    basis = _basis(session, configuration)
    before = store.newest(session, project)
    if before is not None and before.basis == basis:
        before.last_seen_at = now()
        return
    last = runs.last(session, project)
    ready = runs.readiness(session, project)
    situation = TriggerFacts(
        new=ready.new_counts,
        hours_since_last_run=_hours_since(last),
        active=runs.active(session, project) is not None,
        last_run_ended_badly=ENDED_BADLY.get(last.state) if last else None,
        both_classes=recipe_for(configuration, {}).objective != "sft",
    )
    decision = decide(rules, situation)
    if decision.start:
        decision = decide(rules, replace(situation, reasons=ready.reasons, undecided=ready.undecided))
    run_id = None
    if decision.start:
        run_id = runs.request(session, project, wire.NewRun(), "trigger", f"trigger: {decision.reason}").id
    _keep(session, project, decision, basis, run_id)


def _basis(session: Session, configuration: wire.Project) -> dict[str, Any]:
    """Returns the facts that a decision rests on. The log up to its last event determines the labels."""
    last = runs.last(session, configuration.project)
    active = runs.active(session, configuration.project)
    return {
        "watermark": runs.readiness_reaches(session, configuration.project),
        "run": str(last.id) if last else None,
        "state": last.state.value if last else None,
        "active": active is not None,
        "due": due(configuration.trigger, _hours_since(last)),
        "shipped": str(releases.current(session, configuration.project).checkpoint_id),
        "configuration": configuration.model_dump(mode="json", include={"recipe", "trigger", "snapshot"}),
        "gates": configuration.gates.version,
        "unservable": serving.reasons_to_refuse(session, configuration),
    }


def _keep(session: Session, project: str, decision: Decision, basis: dict[str, Any], run_id: UUID | None) -> None:
    before = store.newest(session, project)
    if before is not None and not decision.start and not before.started and before.reason == decision.reason:
        before.last_seen_at, before.basis = now(), basis
        return
    at = now()
    store.add(
        session,
        {
            "project_id": project,
            "decided_at": at,
            "last_seen_at": at,
            "started": decision.start,
            "reason": decision.reason,
            "basis": basis,
            "run_id": run_id,
        },
    )


def _hours_since(last: runs.LastRun | None) -> float | None:
    return (now() - last.created_at).total_seconds() / 3600 if last else None
