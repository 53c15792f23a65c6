"""Deletes the months of feedback that a project no longer keeps, oldest first, and records each of them.

    tick ─▶ plan: a record for each expired month ─▶ events ─▶ completions ─▶ edits ─▶ audits ─▶ snapshots ─▶ done

The events of a month go with its partition if all projects in it have expired there, and by parts of bounded size
otherwise. What follows concerns what no event is left for, and is done once, with the newest of the months that expire
together. Each step works in transactions of its own that also write the message for the next one; the transaction of a
worker that dies is rolled back, and the tick sends the message again.

Legal holds come first: see `app.privacy.holds.service`.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access.operator_log import service as operator_log
from app.database import now, transaction
from app.errors import NotFound, Unavailable
from app.feedback import service as feedback
from app.feedback.expiry import service as expiry
from app.feedback.expiry.service import Month
from app.labels import service as labels
from app.labels.audits import service as audits
from app.labels.summaries import service as summaries
from app.monitoring.approval import service as approval
from app.pages import Page, key_of_cursor, page_of
from app.privacy.holds import service as holds
from app.privacy.holds.service import HoldsInForce
from app.privacy.retention import records, store
from app.privacy.retention.expired_snapshots import Redaction, redact_next
from app.privacy.retention.months import months_to_expire
from app.privacy.retention.tables import ExpiredMonth
from app.projects import service as projects

log = logging.getLogger(__name__)

BY = "retention"


class Progress(NamedTuple):
    """The months of a project that are not done, the age of the oldest in seconds, and the Unix time at which one last
    ended."""

    unfinished: int
    oldest_seconds: float | None
    last: float | None


# -- shown ------------------------------------------------------------------------------------------------------------


def get(session: Session, project: str) -> wire.Retention:
    """Returns the retention of a project. Raises `NotFound`."""
    rules = projects.get(session, project).retention
    totals = store.totals(session, project)
    return wire.Retention(
        project=project,
        rules=rules,
        keeps_from=None if rules.months is None else expiry.keeps_from(rules.months),
        months=totals.months,
        events=totals.events,
        completions=totals.completions,
        last_finished_at=totals.last_finished_at,
        unfinished=[records.shown(row) for row in store.unfinished(session, project)],
        held=holds.look(session, project).ids,
    )


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.ExpiredMonth]:
    """Returns a page of the records of a project, newest first."""
    rows = store.newest_first(session, project, key_of_cursor(cursor, UUID), limit + 1)
    return page_of(rows, limit, lambda row: str(row.id), records.shown)


def month(session: Session, project: str, record_id: UUID) -> wire.ExpiredMonth:
    """Returns the record of a month. Raises `NotFound`."""
    row = store.of_id(session, project, record_id)
    if row is None:
        raise NotFound(f"Project {project} has no record {record_id} of a month.", code="expired_month_not_found")
    return records.shown(row)


def progress(session: Session) -> dict[str, Progress]:
    """Returns the progress of the projects that have records of expired months."""
    return {
        project: Progress(
            unfinished,
            None if oldest is None else (now() - oldest).total_seconds(),
            None if last is None else last.timestamp(),
        )
        for project, unfinished, oldest, last in store.progress(session)
    }


# -- done -------------------------------------------------------------------------------------------------------------


def plan(session: Session) -> None:
    """Begins a record for each month that has expired and of which a project has feedback that no hold covers. Months
    of a project whose holds cannot be told wait until they can: the others go on."""
    for project in sorted([*projects.ids(session), *projects.archived_ids(session)]):
        configuration = projects.get(session, project)
        if configuration.retention.months is None:
            continue
        try:
            months = months_to_expire(session, configuration, partial(store.last_rules, session, project))
        except Unavailable as error:
            log.warning("months of project %s cannot expire: %s", project, error.message)
            continue
        for month in months:
            _begin(session, project, month, configuration.retention)


def ring_due(session: Session) -> None:
    """Sends messages for months that no worker continues."""
    for row in store.due(session, now()):
        records.ring(session, row)


def advance(record_id: UUID) -> None:
    """Performs the next part of a month's deletion in its own transaction, and sends a message for the part after it.

    An error is recorded, and the part is tried again later.
    """
    try:
        with transaction() as session:
            row = store.locked(session, record_id)
            if row is None or row.state == store.DONE:
                return
            in_force = holds.in_force(session, row.project_id)
            row.state = "running"
            if in_force.whole:
                records.wait(row, holds.sentence(in_force.whole))
                return
            if not records.is_expired(session, row):
                row.step, row.place = "end", ""
            row.attempts, row.trouble = 0, None
            STEPS[row.step](session, row, in_force)
            if row.state != store.DONE and row.trouble is None:
                records.ring(session, row)
    except Exception as error:  # noqa: BLE001 - it is stored with the record, and logged there
        _put_off(record_id, error)


def _delete_events(session: Session, row: ExpiredMonth, in_force: HoldsInForce) -> None:
    month = expiry.month_named(row.month)
    if expiry.has_partition(session, month) and _drop(session, row, month):
        return
    held = in_force.held(session)
    part = expiry.delete_part(
        session, row.project_id, month, held=held, after=int(row.place or 0), limit=records.AT_ONCE
    )
    records.count(row, events=part.rows)
    if part.rows == records.AT_ONCE:
        row.place = str(part.last)
        return
    if expiry.has_partition(session, month) and not expiry.projects_in(session, month):
        records.certify(row, dropped=_require_dropped(session, month, []))
    if held and expiry.count(session, row.project_id, month):
        records.certify(row, held=[str(hold) for hold in in_force.ids])
    _end_events(session, row)


def _drop(session: Session, row: ExpiredMonth, month: Month) -> bool:
    """Drops the month's partition, with the events of all projects in it, if the month has expired for each of them and
    no hold covers any. Returns whether it did."""
    there = expiry.projects_in(session, month)
    rows = store.locked_at_events(session, there, row.month)
    if row.project_id not in there or [each.project_id for each in rows] != there:
        return False
    for each in rows:
        in_force = holds.in_force(session, each.project_id)
        held = in_force.held(session)
        if (
            in_force.whole
            or not records.is_expired(session, each)
            or expiry.is_touched(session, each.project_id, month, held)
        ):
            return False
    events = expiry.count_by_project(session, month)
    for each in rows:
        records.count(each, events=events.get(each.project_id, 0))
        records.certify(each, dropped=True)
        each.state = "running"
        _end_events(session, each)
        if each is not row:
            records.ring(session, each)
    return _require_dropped(session, month, there)


def _require_dropped(session: Session, month: Month, expected: Sequence[str]) -> bool:
    if not expiry.drop(session, month, expected):
        raise Unavailable(f"The month {month.name} got events of another project meanwhile.", code="busy")
    return True


def _end_events(session: Session, row: ExpiredMonth) -> None:
    # Whatever was read of the log before is void: a snapshot that is being built is built again. It locks the project.
    projects.count_erasure(session, row.project_id)
    followed = store.is_followed(session, row.project_id, row.month)
    row.step, row.place = ("end" if followed else "completions"), ""


def _delete_completions(session: Session, row: ExpiredMonth, in_force: HoldsInForce) -> None:
    month, held = expiry.month_named(row.month), in_force.held(session)
    part = expiry.old_completions(session, row.project_id, month.end, after=int(row.place or 0), limit=records.AT_ONCE)
    free = [completion_id for completion_id, _ in part if completion_id not in held]
    records.count(row, completions=feedback.erase_unheard_of(session, row.project_id, free))
    records.go_on(row, [position for _, position in part], "edits")


def _forget_edits(session: Session, row: ExpiredMonth, _: HoldsInForce) -> None:
    part = labels.edit_positions(session, row.project_id, after=int(row.place or 0), limit=records.AT_ONCE)
    without = expiry.without_event(session, row.project_id, part)
    records.count(row, edit_comparisons=labels.forget_edits(session, row.project_id, without))
    records.go_on(row, part, "audits")
    if row.step == "audits":
        # Both may name actors and values of metadata; the loop counts them again from what is left.
        summaries.forget(session, row.project_id)
        approval.forget(session, row.project_id)


def _blank_audits(session: Session, row: ExpiredMonth, in_force: HoldsInForce) -> None:
    part = audits.completions(session, row.project_id, after=row.place, limit=records.AT_ONCE)
    gone = expiry.unheard_of(session, row.project_id, part) - in_force.held(session)
    items, suspicions = audits.erase(session, row.project_id, gone)
    records.count(row, audit_items=items, suspicions=suspicions)
    records.go_on(row, part, "snapshots")


def _redact(session: Session, row: ExpiredMonth, in_force: HoldsInForce) -> None:
    rules = wire.RetentionRules.model_validate(row.rules)
    redaction: Redaction = redact_next(session, row.project_id, rules, in_force.held(session), row.place)
    if redaction.snapshot is not None:
        records.certify(row, snapshots=[*row.certificate["snapshots"], redaction.snapshot.model_dump(mode="json")])
    if redaction.place is not None:
        row.place = redaction.place
    elif redaction.in_use is not None:
        row.place = ""
        records.wait(row, redaction.in_use)
    else:
        row.step, row.place = "end", ""


def _end(session: Session, row: ExpiredMonth, _: HoldsInForce) -> None:
    row.state, row.finished_at = store.DONE, now()
    operator_log.record(
        session, "expire_month", by=BY, project=row.project_id, record_id=str(row.id), month=row.month, **row.rules,
        **records.counts(row), redacted=len(row.certificate["snapshots"]), held=row.certificate["held"],
    )  # fmt: skip
    log.info("month %s of project %s has expired: %s", row.month, row.project_id, records.counts(row))


#: The steps by name. After the last one the row's `state` is "done".
STEPS: Mapping[str, Callable[[Session, ExpiredMonth, HoldsInForce], None]] = {
    store.EVENTS: _delete_events,
    "completions": _delete_completions,
    "edits": _forget_edits,
    "audits": _blank_audits,
    "snapshots": _redact,
    "end": _end,
}


# -- inside -----------------------------------------------------------------------------------------------------------


def _begin(session: Session, project: str, month: Month, rules: wire.RetentionRules) -> None:
    values = {
        "project_id": project,
        "month": month.name,
        "rules": rules.model_dump(mode="json"),
        "state": "pending",
        "step": store.EVENTS,
        "certificate": records.NOTHING,
    }
    store.insert_once(session, values)


def _put_off(record_id: UUID, error: Exception) -> None:
    with transaction() as session:
        row = store.locked(session, record_id)
        if row is not None and row.state != store.DONE:
            records.keep_failure(row, error)
