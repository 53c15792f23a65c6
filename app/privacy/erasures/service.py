"""Erasures of actors: asked for, done step by step, shown with their certificates.

    DELETE ─▶ tombstone ─▶ log ─▶ what labels keep ─▶ each snapshot that holds such rows ─▶ done: the actor is forgotten

Each step is a transaction, and leaves the message that asks for the next one. Whoever dies in the middle of a step has
done nothing; the tick asks again for what nobody works on.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import outbox
from app.database import now, transaction
from app.errors import Conflict, NotFound, ThumbwheelError
from app.feedback import service as feedback
from app.labels import service as labels
from app.labels.audits import service as audits
from app.labels.quarantine import service as quarantine
from app.labels.summaries import service as summaries
from app.privacy.erasures import store
from app.privacy.erasures.tables import Erasure
from app.privacy.lineage import service as lineage
from app.projects import service as projects
from app.schema import Page, key_of_cursor, page_of
from app.snapshots.redactions import service as redactions

log = logging.getLogger(__name__)

TASK = "worker.tasks.erase"
#: After so long without a step, it is asked for again.
PATIENCE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(minutes=5)
#: Attempts at a step that ended in a way which nobody foresaw; one that waits for something is tried for ever.
MOST_ATTEMPTS = 10
#: Of a certificate as it is shown; the others come in pages.
EVENTS_SHOWN = 1000


# -- asked for and shown ----------------------------------------------------------------------------------------------


def request(session: Session, project: str, actor: str, by: str) -> wire.Erasure:
    """Begin to erase an actor: from now on nothing that they say is stored. While one goes on, that one; where nothing
    came since the last one, the last one. One that failed begins again where it stopped.

    Raises `NotFound` where nobody of that id is in the log.
    """
    actor_sha256 = feedback.actor_sha256(project, actor)
    before = store.newest_of(session, project, actor_sha256)
    if before is None or (before.state == "done" and not feedback.is_kept_away(session, project, actor_sha256)):
        # Only what is new to an actor who may speak can be new: the log is read only then.
        new = store.anything_of(session, project, actor)
        projects.lock(session, project)
        before = store.newest_of(session, project, actor_sha256)
        if new and (before is None or before.state == "done"):
            return _shown(session, _begin(session, project, actor, actor_sha256, by))
        if before is None:
            raise NotFound(f"No feedback of an actor {actor!r} is stored: check the id.", code="actor_not_found")
    if before.state == "failed":
        before.state, before.attempts, before.trouble = "pending", 0, None
        _ring(session, before)
    return _shown(session, before)


def get(session: Session, project: str, erasure_id: UUID) -> wire.Erasure:
    """With its certificate, once it is done. Raises `NotFound`."""
    return _shown(session, _require(session, project, erasure_id))


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.Erasure]:
    """The project's erasures, newest first, without certificates."""
    rows = store.newest_first(session, project, key_of_cursor(cursor, UUID), limit + 1)
    return page_of(rows, limit, lambda row: str(row.id), lambda row: _shown(session, row, certified=False))


def events(
    session: Session, project: str, erasure_id: UUID, *, cursor: str | None, limit: int
) -> Page[wire.ErasedEvent]:
    """Ids of what an erasure erased, in their order. Raises `NotFound`."""
    _require(session, project, erasure_id)
    ids = store.events_of(session, erasure_id, key_of_cursor(cursor, _event_id) or "", limit + 1)
    return page_of(ids, limit, str, lambda event_id: wire.ErasedEvent(event_id=event_id))


def lift(session: Session, project: str, erasure_id: UUID, by: str) -> wire.Erasure:
    """Store again what the actor of this erasure says. Once more changes nothing.

    Raises `NotFound`, and `Conflict` while the actor is being erased.
    """
    row = _require(session, project, erasure_id)
    projects.lock(session, project)
    newest = store.newest_of(session, project, row.actor_sha256)
    assert newest is not None
    if newest.state != "done":
        raise Conflict(
            f"Erasure {newest.id} of this actor is {newest.state}: wait for its end, then lift the tombstone.",
            code="erasure_unfinished",
            details={"erasure_id": str(newest.id)},
        )
    if feedback.is_kept_away(session, project, row.actor_sha256):
        feedback.let_back(session, project, row.actor_sha256)
        row.lifted_at, row.lifted_by = now(), by
    return _shown(session, row)


# -- done -------------------------------------------------------------------------------------------------------------


def failed(session: Session) -> list[wire.Erasure]:
    """Returns the erasures of all projects that failed and need an operator, oldest first."""
    return [_shown(session, row, certified=False) for row in store.failed(session)]


def ring_due(session: Session) -> None:
    """Have a worker go on with erasures that nobody works on."""
    for row in store.due(session, now()):
        _ring(session, row)


def advance(erasure_id: UUID) -> None:
    """Do the erasure's next step, in a transaction of its own; a message asks for the one after.

    What goes wrong is shown with the erasure, and tried again later.
    """
    try:
        with transaction() as session:
            row = store.locked(session, erasure_id)
            if row is None or row.state not in store.UNFINISHED:
                return
            row.state, row.started_at = "running", row.started_at or now()
            session.flush()  # Postgres looks at the state before it lets decisions go
            STEPS[row.step](session, row)
            row.attempts, row.trouble = 0, None
            if row.state == "running":
                _ring(session, row)
    except (ThumbwheelError, OSError) as error:  # it says what has to be mended, the artifact store for example
        _put_off(erasure_id, error)
    except Exception as error:
        log.exception("erasure %s: a step went wrong", erasure_id)
        _put_off(erasure_id, error, MOST_ATTEMPTS)


def _erase_log(session: Session, row: Erasure) -> None:
    """The tombstone is committed: once the log's lock was had, no event of the actor appears any more."""
    assert row.actor is not None
    store.remember(session, row, feedback.watermark(session, row.project_id))
    erased = feedback.erase(session, row.project_id, store.events_of(session, row.id))
    labels.forget_edits(session, row.project_id, erased)
    completions = feedback.erase_unheard_of(session, row.project_id, store.completions_of(session, row.id))
    _certify(row, {"events": len(erased), "completions": completions})
    row.step = "labels"
    # Last, as it holds the project: whoever builds a snapshot of the log as it was sees this before registering it, or
    # registers it first, and then it is found below.
    projects.count_erasure(session, row.project_id)


def _erase_labels(session: Session, row: Erasure) -> None:
    assert row.actor is not None
    items, suspicions = audits.erase(session, row.project_id, store.completions_of(session, row.id))
    decisions = quarantine.erase(session, row.project_id, row.actor)
    summaries.forget(session, row.project_id)
    _certify(row, {"audit_items": items, "suspicions": suspicions, "quarantine_decisions": decisions})
    row.step = "snapshots"


def _redact(session: Session, row: Erasure) -> None:
    """One snapshot at a time; when none is left, the end."""
    redactions.purge(session, row.project_id)  # of the step before, which is committed
    completions = store.completions_of(session, row.id)
    for snapshot_id in redactions.affected(session, row.project_id, completions):
        redacted = asdict(redactions.redact(session, snapshot_id, completions, erasure_id=row.id))
        of_it = wire.ErasedSnapshot.model_validate(redacted).model_dump(mode="json")
        _certify(row, {"snapshots": [*row.certificate.get("snapshots", []), of_it]})
        return
    store.forget_completions(session, row.id)
    row.actor, row.state, row.finished_at = None, "done", now()
    log.info("erasure %s is done", row.id)


#: What the step after the last one leaves behind is in the row: `state`.
STEPS: Mapping[str, Callable[[Session, Erasure], None]] = {
    "log": _erase_log,
    "labels": _erase_labels,
    "snapshots": _redact,
}


# -- inside -----------------------------------------------------------------------------------------------------------


def _begin(session: Session, project: str, actor: str, actor_sha256: bytes, by: str) -> Erasure:
    feedback.keep_away(session, project, actor_sha256)
    row = store.insert_erasure(
        session,
        {
            "project_id": project,
            "actor_sha256": actor_sha256,
            "actor": actor,
            "state": "pending",
            "step": "log",
            "requested_by": by,
            "certificate": {},
        },
    )
    _ring(session, row)
    return row


def _ring(session: Session, row: Erasure) -> None:
    row.next_attempt_at = now() + PATIENCE
    outbox.put(session, TASK, {"erasure_id": str(row.id)}, queue=outbox.HOUSEKEEPING)


def _put_off(erasure_id: UUID, error: Exception, most_attempts: int | None = None) -> None:
    """Nothing of the step is left: say why, and when it is tried again."""
    with transaction() as session:
        row = store.locked(session, erasure_id)
        if row is None or row.state not in store.UNFINISHED:
            return
        row.started_at = row.started_at or now()
        row.attempts += 1
        row.state = "failed" if most_attempts is not None and row.attempts >= most_attempts else "running"
        row.trouble = error.message if isinstance(error, ThumbwheelError) else f"{type(error).__name__} in a step"
        if row.state == "failed":
            log.error(
                "erasure_failed: erasure %s of project %s, step %s: %s. It goes on where it stopped once the cause is "
                "mended and the same request is sent again.",
                row.id, row.project_id, row.step, row.trouble,
            )  # fmt: skip
        row.next_attempt_at = now() + min(timedelta(seconds=2 ** min(row.attempts, 10)), LONGEST_PAUSE)


def _certify(row: Erasure, found: Mapping[str, Any]) -> None:
    row.certificate = {**row.certificate, **found}


def _event_id(text: str) -> str:
    """Raises `ValueError` for what Postgres does not store."""
    if "\0" in text:
        raise ValueError(text)
    return text


def _require(session: Session, project: str, erasure_id: UUID) -> Erasure:
    row = store.of_id(session, project, erasure_id)
    if row is None:
        raise NotFound(f"Project {project} has no erasure {erasure_id}.", code="erasure_not_found")
    return row


def _shown(session: Session, row: Erasure, *, certified: bool = True) -> wire.Erasure:
    return wire.Erasure(
        id=row.id,
        project=row.project_id,
        actor_sha256=row.actor_sha256.hex(),
        state=row.state,
        requested_at=row.requested_at,
        requested_by=row.requested_by,
        started_at=row.started_at,
        finished_at=row.finished_at,
        trouble=row.trouble,
        tombstone=feedback.is_kept_away(session, row.project_id, row.actor_sha256),
        lifted_at=row.lifted_at,
        lifted_by=row.lifted_by,
        certificate=_certificate(session, row) if certified and row.state == "done" else None,
    )


def _certificate(session: Session, row: Erasure) -> wire.Certificate:
    """What stands in the row, and what became of the snapshots by today."""
    found = row.certificate.get("snapshots", [])
    of = lineage.with_predecessors(session, [UUID(one["snapshot_id"]) for one in found])
    return wire.Certificate.model_validate(
        {
            **row.certificate,
            "event_ids": store.events_of(session, row.id, limit=EVENTS_SHOWN),
            "snapshots": found,
            "checkpoints": lineage.checkpoints_of(session, row.project_id, of),
            "runs": lineage.runs_on(session, row.project_id, of, active=True),
        }
    )
