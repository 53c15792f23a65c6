"""Uploaded imports: requested, shown, cancelled and forgotten. `progress` is the side of the processes that do them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import artifacts, messages, outbox, settings
from app.access.operator_log import service as operator_log
from app.database import now, transaction
from app.errors import Conflict, NotFound, Unavailable
from app.feedback.import_jobs import store
from app.feedback.import_jobs.report import shown
from app.feedback.import_jobs.tables import ImportJob
from app.pages import Page, key_of_cursor, page_of

#: The largest number of imports of a project that have not ended: each has a file in the store.
MOST_UNFINISHED = 20
#: After this time without a worker, the tick sends the message again.
PATIENCE = timedelta(minutes=1)
DRY_RUN_DAYS = 1.0
REJECTS_AT_ONCE = 1000
FILES_AT_ONCE = 100


def require_room(session: Session, project: str) -> None:
    """Raises `Conflict` if too many imports of the project have not ended."""
    if store.count_unfinished(session, project) >= MOST_UNFINISHED:
        raise Conflict(
            f"{MOST_UNFINISHED} imports of {project} have not ended: wait until one has, or cancel one.",
            code="too_many_imports",
        )


def fingerprint_of(sha256: str, options: wire.ImportOptions, *, dry_run: bool, restart: bool) -> str:
    """Returns the digest of a file and its options. Equal ones are one import, unless it is to start again."""
    facts = [sha256, options.model_dump(mode="json"), dry_run, str(uuid4()) if restart else None]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def request(session: Session, project: str, by: str, values: Mapping[str, Any]) -> tuple[wire.Import, bool]:
    """Requests the import of an upload that the store has, and returns whether it is new: the same file with the same
    options is one import, unless that failed or was cancelled.
    """
    row = store.insert_once(session, {**values, "project_id": project, "created_by": by, "state": "queued"})
    if row is None:
        existing = store.with_fingerprint(session, project, values["fingerprint"])
        if existing is None:  # it failed just now
            raise Unavailable("The import of the same file has just ended: retry.", code="import_ended")
        operator_log.forget(session)
        return shown(existing), False
    operator_log.note(session, project, import_id=row.id)
    _ring(session, row)
    return shown(row), True


def get(session: Session, project: str, import_id: UUID) -> wire.Import:
    """Returns an import. Raises `NotFound`."""
    return shown(_require(store.of_id(session, project, import_id), project, import_id))


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.Import]:
    """Returns a page of the project's imports, newest first, without the outcomes of their files."""
    rows = store.newest_first(session, project, key_of_cursor(cursor, UUID), limit + 1)
    return page_of(rows, limit, lambda row: str(row.id), lambda row: shown(row, with_files=False))


def cancel(session: Session, project: str, import_id: UUID, by: str) -> wire.Import:
    """Ends the import; what is stored stays. A second call changes nothing. Raises `NotFound`, and `Conflict` if it
    has ended otherwise.
    """
    row = _require(store.locked(session, project, import_id), project, import_id)
    if row.state in ("done", "failed"):
        raise Conflict(f"The import is {row.state} and cannot be cancelled.", code="illegal_transition")
    if row.state != "cancelled":
        row.state, row.reason, row.finished_at = "cancelled", f"cancelled by {by}", now()
        row.lease_owner = row.lease_expires_at = None
        row.lease_epoch += 1
        session.flush()
    return shown(row)


def remove(session: Session, project: str, import_id: UUID) -> None:
    """Deletes the report of an import that has ended. Raises `NotFound`, and `Conflict` while it goes on."""
    row = _require(store.locked(session, project, import_id), project, import_id)
    if row.finished_at is None:
        raise Conflict(f"The import is {row.state}: cancel it first, then delete it.", code="import_unfinished")
    if row.file_kept:
        artifacts.delete_upload(row.id)
    store.remove(session, import_id)


def reject_lines(import_id: UUID) -> Iterator[bytes]:
    """Yields the rejected records as JSON lines, each part of them read in a transaction of its own."""
    number = 0
    while True:
        with transaction(read_only=True) as session:
            rows = store.rejects_after(session, import_id, number, REJECTS_AT_ONCE)
        if not rows:
            return
        number = rows[-1].number
        lines = [{"file": row.file, row.unit: row.line, "reason": row.reason} for row in rows]
        yield "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


# -- for other rooms --------------------------------------------------------------------------------------------------


def ring_due(session: Session) -> None:
    """Sends messages for imports that no process goes on with: after a pause, or because it was lost."""
    for row in store.due(session, now() - PATIENCE):
        _ring(session, row)


def forget(session: Session) -> None:
    """Deletes the files of imports that have ended, and old reports."""
    for row in store.ended_with_file(session, FILES_AT_ONCE):
        artifacts.delete_upload(row.id)
        row.file_kept = False
    days = settings.current().import_days
    at = now()
    store.forget(session, at - timedelta(days=days), dry_runs_before=at - timedelta(days=min(days, DRY_RUN_DAYS)))


def forget_texts(session: Session, project: str) -> int:
    """Empties the reports of the project's dry runs, which show texts; returns their number."""
    return store.forget_texts(session, project)


def with_file(session: Session) -> set[str]:
    """Returns the imports whose file may still be in the store."""
    return {str(import_id) for import_id in store.with_file(session)}


def unfinished(session: Session) -> dict[tuple[str, str], int]:
    """Returns the number of imports that have not ended, by project and state."""
    return {(project, state): number for project, state, number in store.counts(session)}


def _ring(session: Session, row: ImportJob) -> None:
    row.rung_at = now()
    outbox.put(session, messages.LOOK_AT_IMPORT, import_id=row.id)


def _require(row: ImportJob | None, project: str, import_id: UUID) -> ImportJob:
    if row is None:
        raise NotFound(f"Project {project} has no import {import_id}.", code="import_not_found")
    return row
