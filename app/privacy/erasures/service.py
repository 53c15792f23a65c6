"""Erases actors step by step, and shows erasures with their certificates.

    DELETE ─▶ tombstone ─▶ log: the actor's ids ─▶ events ─▶ completions ─▶ labels
           ─▶ each snapshot with such rows ─▶ done: the actor's id is deleted ─▶ tables are vacuumed

Each step works in transactions of bounded size, and each transaction sends the message for the next one. The
transaction of a worker that dies is rolled back; the tick sends the message again for erasures without a worker.

An error that passes by itself (a server does not answer) is waited for. Any other error makes the erasure fail, with
its cause, after a few attempts.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import messages, outbox
from app.database import now, transaction
from app.errors import Conflict, NotFound
from app.feedback import service as feedback
from app.labels import service as labels
from app.labels.audits import service as audits
from app.labels.quarantine import service as quarantine
from app.labels.summaries import service as summaries
from app.monitoring.approval import service as approval
from app.pages import Page, key_of_cursor, page_of, storable_key
from app.privacy.erasures import store
from app.privacy.erasures.actor_forms import are_kept_away, digests_of, forms_of, place_in_log
from app.privacy.erasures.certificates import certify, count, erasure_of
from app.privacy.erasures.failures import keep_failure
from app.privacy.erasures.published import publish
from app.privacy.erasures.tables import Erasure
from app.privacy.vacuums import service as vacuums
from app.projects import service as projects
from app.projects.protection import service as protections
from app.projects.protection.pseudonyms import is_hashed
from app.snapshots.redactions import service as redactions

log = logging.getLogger(__name__)

#: After this time without a step, the tick sends the message again.
PATIENCE = timedelta(minutes=1)
#: Ids in one transaction, and snapshots that one transaction searches.
AT_ONCE, SNAPSHOTS = 10_000, 20
#: Events in a certificate that is shown; pages list all of them.
EVENTS_SHOWN = 1000


# -- requested and shown ----------------------------------------------------------------------------------------------


def request(session: Session, project: str, actor: str, by: str) -> wire.Erasure:
    """Requests the erasure of an actor, whose feedback is not stored from now on. Returns the running erasure if there
    is one, or the last one if no feedback came since. A failed erasure starts again where it stopped.

    actor  the caller's own id or its hash: events are erased under both, where actors of the project are or were hashed

    Raises `NotFound` if the log has no actor with this id.
    """
    forms = sorted(protections.forms_of_actor(session, project, actor), key=is_hashed)
    digests = [feedback.actor_sha256(project, form) for form in forms]
    before = store.newest_of(session, project, digests)
    if before is None or (before.state == "done" and not are_kept_away(session, project, digests)):
        # New events are possible only while the actor's feedback is stored, so the log is read only then.
        new = store.anything_of(session, project, forms)
        projects.lock(session, project)
        before = store.newest_of(session, project, digests)
        if new and (before is None or before.state == "done"):
            return _shown(session, _begin(session, project, forms, by))
        if before is None:
            raise NotFound(f"No feedback of an actor {actor!r} is stored: check the id.", code="actor_not_found")
    if before.state == "failed":
        before.state, before.attempts, before.trouble = "pending", 0, None
        _ring(session, before)
    return _shown(session, before)


def get(session: Session, project: str, erasure_id: UUID) -> wire.Erasure:
    """Returns the erasure, with its certificate once it is done. Raises `NotFound`."""
    return _shown(session, _require(session, project, erasure_id))


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.Erasure]:
    """Returns a page of the project's erasures, newest first, without certificates."""
    rows = store.newest_first(session, project, key_of_cursor(cursor, UUID), limit + 1)
    return page_of(rows, limit, lambda row: str(row.id), lambda row: _shown(session, row, certified=False))


def events(
    session: Session, project: str, erasure_id: UUID, *, cursor: str | None, limit: int
) -> Page[wire.ErasedEvent]:
    """Returns a page of the ids of erased events, in order. Raises `NotFound`."""
    _require(session, project, erasure_id)
    ids = store.events_of(session, erasure_id, key_of_cursor(cursor, storable_key) or "", limit + 1)
    return page_of(ids, limit, str, lambda event_id: wire.ErasedEvent(event_id=event_id))


def lift(session: Session, project: str, erasure_id: UUID, by: str) -> wire.Erasure:
    """Allows feedback of the actor of this erasure again. A second call changes nothing.

    Raises `NotFound`, and `Conflict` while the actor is being erased.
    """
    row = _require(session, project, erasure_id)
    projects.lock(session, project)
    digests = digests_of(row)
    newest = store.newest_of(session, project, digests)
    assert newest is not None
    if newest.state != "done":
        raise Conflict(
            f"Erasure {newest.id} of this actor is {newest.state}: wait for its end, then lift the tombstone.",
            code="erasure_unfinished",
            details={"erasure_id": str(newest.id)},
        )
    if any(feedback.is_kept_away(session, project, digest) for digest in digests):
        for digest in digests:
            feedback.let_back(session, project, digest)
        row.lifted_at, row.lifted_by = now(), by
    return _shown(session, row)


# -- done -------------------------------------------------------------------------------------------------------------


def failed(session: Session) -> list[wire.Erasure]:
    """Returns the erasures of all projects that failed and need an operator, oldest first."""
    return [_shown(session, row, certified=False) for row in store.failed(session)]


def ring_due(session: Session) -> None:
    """Sends messages for erasures that no worker continues."""
    for row in store.due(session, now(), vacuums.waiting(session)):
        _ring(session, row)


def advance(erasure_id: UUID) -> None:
    """Performs the next part of the erasure in its own transaction, and sends a message for the part after it.

    An error is recorded with the erasure; the part is tried again later, or the erasure has failed.
    """
    try:
        with transaction() as session:
            row = store.locked(session, erasure_id)
            if row is None or row.state == "failed":
                return
            if row.state != "done":
                row.state, row.started_at = "running", row.started_at or now()
                session.flush()  # Postgres requires this state before decisions can be deleted
                STEPS[row.step](session, row)
                row.attempts, row.trouble = 0, None
                _ring(session, row)
                return
            until = vacuums.postponed_until(session, erasure_id)
            if until is not None:
                row.next_attempt_at = until
                return
            attempts = row.attempts
        if vacuums.vacuum_next(erasure_id, attempts):
            _go_on_vacuuming(erasure_id)
    except Exception as error:  # noqa: BLE001 - it is stored with the erasure, and logged there
        _put_off(erasure_id, error)


def _look(session: Session, row: Erasure) -> None:
    """Collects the actor's events and completions. The tombstone is committed, so after the log's lock was taken once
    no new event of the actor appears."""
    if row.watermark is None:
        row.watermark, row.place = feedback.watermark(session, row.project_id), "0"
        session.flush()
        vacuums.touch(session, row.id, ("erasures", "erased_completions"))
        certify(row, {"events": 0, "completions": 0, "audit_items": 0, "suspicions": 0, "quarantine_decisions": 0})
    number, after = place_in_log(row.place)
    forms = forms_of(row)
    last = store.remember(session, row, forms[number], after, AT_ONCE)
    if last is not None or number + 1 < len(forms):
        row.place = f"{number + 1}:0" if last is None else f"{number}:{last}"
    else:
        row.step, row.place = "events", ""


def _erase_events(session: Session, row: Erasure) -> None:
    part = store.events_of(session, row.id, row.place, AT_ONCE)
    positions, tables = feedback.erase(session, row.project_id, part)
    edits = labels.forget_edits(session, row.project_id, positions)
    vacuums.touch(session, row.id, [*tables, *(["edit_comparisons"] if edits else [])])
    count(row, events=len(positions))
    _go_on(row, part, "completions")


def _erase_completions(session: Session, row: Erasure) -> None:
    part = store.completions_of(session, row.id, row.place, AT_ONCE)
    erased = feedback.erase_unheard_of(session, row.project_id, part)
    vacuums.touch(session, row.id, ["completions"] if erased else [])
    count(row, completions=erased)
    _go_on(row, part, "labels")
    if row.step == "labels":
        # This comes with the last part, since it locks the project. A process that builds a snapshot of the earlier log
        # sees the count before it registers the snapshot, or registers it first, and then it is redacted below.
        projects.count_erasure(session, row.project_id)


def _erase_labels(session: Session, row: Erasure) -> None:
    part = store.completions_of(session, row.id, row.place, AT_ONCE)
    items, suspicions = audits.erase(session, row.project_id, part)
    decisions = sum(quarantine.erase(session, row.project_id, form) for form in forms_of(row))
    summaries.forget(session, row.project_id)
    values = approval.forget(session, row.project_id)
    touched = {
        "label_audit_items": items, "label_audit_verdicts": items, "label_suspicions": suspicions,
        "quarantine_decisions": decisions, "release_labels": values, "exposures": values,
    }  # fmt: skip
    vacuums.touch(session, row.id, ["actor_findings", *(table for table, rows in touched.items() if rows)])
    count(row, audit_items=items, suspicions=suspicions, quarantine_decisions=decisions)
    _go_on(row, part, "snapshots")


def _redact(session: Session, row: Erasure) -> None:
    """Redacts one snapshot, and deletes the files of the one before."""
    redactions.purge(session, row.project_id)  # of the previous transaction, which is committed
    completions = store.completions_of(session, row.id)
    after = UUID(row.place) if row.place else None
    snapshot_id, last = redactions.next_affected(session, row.project_id, completions, after=after, limit=SNAPSHOTS)
    if snapshot_id is not None:
        redacted = asdict(redactions.redact(session, snapshot_id, completions, erasure_id=row.id))
        entry = wire.ErasedSnapshot.model_validate(redacted).model_dump(mode="json")
        certify(row, {"snapshots": [*row.certificate.get("snapshots", []), entry]})
        vacuums.touch(session, row.id, ["reference_log_probs"])
    row.step, row.place = ("end", "") if last is None else ("snapshots", str(last))


def _end(session: Session, row: Erasure) -> None:
    if store.forget_completions(session, row.id, AT_ONCE) == AT_ONCE:
        return
    row.actor, row.pseudonym, row.state, row.finished_at = None, None, "done", now()
    vacuums.release(session, row.id)
    publish(session, row, "erasure.completed")
    log.info("erasure %s is done", row.id)


#: The steps by name. After the last one the row's `state` is "done".
STEPS: Mapping[str, Callable[[Session, Erasure], None]] = {
    "log": _look,
    "events": _erase_events,
    "completions": _erase_completions,
    "labels": _erase_labels,
    "snapshots": _redact,
    "end": _end,
}


# -- inside -----------------------------------------------------------------------------------------------------------


def _begin(session: Session, project: str, forms: Sequence[str], by: str) -> Erasure:
    digests = [feedback.actor_sha256(project, form) for form in forms]
    for digest in digests:
        feedback.keep_away(session, project, digest)
    row = store.insert_erasure(
        session,
        {
            "project_id": project,
            "actor_sha256": digests[0],
            "actor": forms[0],
            "pseudonym": forms[1] if len(forms) > 1 else None,
            "pseudonym_sha256": digests[1] if len(forms) > 1 else None,
            "state": "pending",
            "step": "log",
            "requested_by": by,
            "certificate": {},
        },
    )
    publish(session, row, "erasure.requested")
    _ring(session, row)
    return row


def _ring(session: Session, row: Erasure) -> None:
    row.next_attempt_at = now() + PATIENCE
    outbox.put(session, messages.ERASE, erasure_id=row.id)


def _go_on_vacuuming(erasure_id: UUID) -> None:
    with transaction() as session:
        row = store.locked(session, erasure_id)
        if row is not None:
            row.attempts, row.trouble = 0, None
            _ring(session, row)


def _put_off(erasure_id: UUID, error: Exception) -> None:
    """Records why the part failed, and the time of the next attempt or that the erasure has failed."""
    with transaction() as session:
        row = store.locked(session, erasure_id)
        if row is not None and row.state != "failed":
            keep_failure(row, error)
            if row.state == "failed":
                publish(session, row, "erasure.failed")


def _go_on(row: Erasure, part: Sequence[str], following: str) -> None:
    """Advances past the ids of this part, or to the following step after the last part."""
    row.step, row.place = (following, "") if len(part) < AT_ONCE else (row.step, part[-1])


def _require(session: Session, project: str, erasure_id: UUID) -> Erasure:
    row = store.of_id(session, project, erasure_id)
    if row is None:
        raise NotFound(f"Project {project} has no erasure {erasure_id}.", code="erasure_not_found")
    return row


def _shown(session: Session, row: Erasure, *, certified: bool = True) -> wire.Erasure:
    listed = certified and row.state == "done"
    return erasure_of(session, row, store.events_of(session, row.id, limit=EVENTS_SHOWN) if listed else None)
