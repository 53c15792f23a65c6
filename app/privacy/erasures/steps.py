"""The steps of an erasure. Each call does one part, in the transaction of the caller, and says what comes next."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.database import now
from app.feedback import service as feedback
from app.feedback.import_jobs import service as imports
from app.labels import service as labels
from app.labels.audits import service as audits
from app.labels.quarantine import service as quarantine
from app.labels.summaries import service as summaries
from app.monitoring.approval import service as approval
from app.privacy.erasures.actor_forms import forms_of, place_in_log
from app.privacy.erasures.certificates import certify, count
from app.privacy.erasures.listed import service as listed
from app.privacy.erasures.published import publish
from app.privacy.erasures.tables import Erasure
from app.privacy.holds import service as holds
from app.privacy.vacuums import service as vacuums
from app.projects import service as projects
from app.snapshots.redactions import service as redactions

log = logging.getLogger(__name__)

#: Ids in one transaction, and snapshots that one transaction searches.
AT_ONCE, SNAPSHOTS = 10_000, 20


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
    last = listed.remember(session, row, forms[number], after, AT_ONCE)
    if last is not None or number + 1 < len(forms):
        row.place = f"{number + 1}:0" if last is None else f"{number}:{last}"
    else:
        row.step, row.place = "events", ""


def _erase_events(session: Session, row: Erasure) -> None:
    part = listed.events_of(session, row.id, row.place, AT_ONCE)
    positions, tables = feedback.erase(session, row.project_id, part)
    edits = labels.forget_edits(session, row.project_id, positions)
    vacuums.touch(session, row.id, [*tables, *(["edit_comparisons"] if edits else [])])
    count(row, events=len(positions))
    _go_on(row, part, "completions")


def _erase_completions(session: Session, row: Erasure) -> None:
    part = listed.completions_of(session, row.id, row.place, AT_ONCE)
    erased = feedback.erase_unheard_of(session, row.project_id, part)
    vacuums.touch(session, row.id, ["completions"] if erased else [])
    count(row, completions=erased)
    _go_on(row, part, "labels")
    if row.step == "labels":
        # This comes with the last part, since it locks the project. A process that builds a snapshot of the earlier log
        # sees the count before it registers the snapshot, or registers it first, and then it is redacted below.
        projects.count_erasure(session, row.project_id)


def _erase_labels(session: Session, row: Erasure) -> None:
    part = listed.completions_of(session, row.id, row.place, AT_ONCE)
    items, suspicions = audits.erase(session, row.project_id, part)
    decisions = sum(quarantine.erase(session, row.project_id, form) for form in forms_of(row))
    for form in forms_of(row):
        summaries.forget(session, row.project_id, form)
    values = approval.forget(session, row.project_id)
    ended_holds = holds.forget_actor(session, row.project_id, forms_of(row))
    dry_runs = imports.forget_texts(session, row.project_id)
    touched = {
        "label_audit_items": items, "label_audit_verdicts": items, "label_suspicions": suspicions,
        "quarantine_decisions": decisions, "release_labels": values, "exposures": values,
        "imports": dry_runs, "legal_holds": ended_holds,
    }  # fmt: skip
    vacuums.touch(session, row.id, ["actor_findings", *(table for table, rows in touched.items() if rows)])
    count(row, audit_items=items, suspicions=suspicions, quarantine_decisions=decisions)
    _go_on(row, part, "snapshots")


def _redact(session: Session, row: Erasure) -> None:
    """Redacts one snapshot, and deletes the files of the one before."""
    redactions.purge(session, row.project_id)  # of the previous transaction, which is committed
    completions = listed.completions_of(session, row.id)
    after = UUID(row.place) if row.place else None
    snapshot_id, last = redactions.next_affected(session, row.project_id, completions, after=after, limit=SNAPSHOTS)
    if snapshot_id is not None:
        redacted = asdict(redactions.redact(session, snapshot_id, completions, erasure_id=row.id))
        entry = wire.ErasedSnapshot.model_validate(redacted).model_dump(mode="json")
        certify(row, {"snapshots": [*row.certificate.get("snapshots", []), entry]})
        vacuums.touch(session, row.id, ["reference_log_probs"])
    row.step, row.place = ("end", "") if last is None else ("snapshots", str(last))


def _end(session: Session, row: Erasure) -> None:
    if listed.forget_completions(session, row.id, AT_ONCE) == AT_ONCE:
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


def _go_on(row: Erasure, part: Sequence[str], following: str) -> None:
    """Advances past the ids of this part, or to the following step after the last part."""
    row.step, row.place = (following, "") if len(part) < AT_ONCE else (row.step, part[-1])
