"""Erases actors step by step, and shows erasures with their certificates.

    DELETE ─▶ tombstone ─▶ log: the actor's ids ─▶ events ─▶ completions ─▶ labels
           ─▶ each snapshot with such rows ─▶ done: the actor's id is deleted ─▶ tables are vacuumed

Each step works in transactions of bounded size, and each transaction sends the message for the next one. The
transaction of a worker that dies is rolled back; the tick sends the message again for erasures without a worker.

A legal hold makes it wait: see `held`. An error that passes by itself (a server does not answer) is waited for. Any
other error makes the erasure fail, with its cause, after a few attempts.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import messages, outbox
from app.database import now, transaction
from app.errors import Conflict, NotFound
from app.feedback import service as feedback
from app.pages import Page, key_of_cursor, page_of, storable_key
from app.privacy.erasures import store
from app.privacy.erasures.actor_forms import are_kept_away, covers, digests_of
from app.privacy.erasures.certificates import erasure_of
from app.privacy.erasures.failures import keep_failure
from app.privacy.erasures.held import waits
from app.privacy.erasures.listed import service as listed
from app.privacy.erasures.published import publish
from app.privacy.erasures.steps import STEPS
from app.privacy.erasures.tables import Erasure
from app.privacy.vacuums import service as vacuums
from app.projects import service as projects
from app.projects.protection import service as protections
from app.projects.protection.pseudonyms import is_hashed

#: After this time without a step, the tick sends the message again.
PATIENCE = timedelta(minutes=1)
#: Events in a certificate that is shown; pages list all of them.
EVENTS_SHOWN = 1000


# -- requested and shown ----------------------------------------------------------------------------------------------


def request(session: Session, project: str, actor: str, by: str) -> wire.Erasure:
    """Requests the erasure of an actor, whose feedback is not stored from now on. Returns the running erasure if there
    is one, or the last one if no feedback came since. A failed erasure starts again where it stopped. An erasure by the
    hash is followed by another one if the id itself is given later: nobody can tell the id from the hash.

    actor  the caller's own id or its hash: events are erased under both, where actors of the project are or were hashed

    Raises `NotFound` if the log has no actor with this id.
    """
    forms = sorted(protections.forms_of_actor(session, project, actor), key=is_hashed)
    digests = [feedback.actor_sha256(project, form) for form in forms]
    before = store.newest_of(session, project, digests)
    if (
        before is None
        or not covers(before, digests[0])
        or (before.state == "done" and not are_kept_away(session, project, digests))
    ):
        # New events are possible only while the actor's feedback is stored, so the log is read only then.
        new = store.anything_of(session, project, forms)
        projects.lock(session, project)
        before = store.newest_of(session, project, digests)
        beyond = before is not None and not covers(before, digests[0])
        if beyond or (new and (before is None or before.state == "done")):
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
    ids = listed.events_of(session, erasure_id, key_of_cursor(cursor, storable_key) or "", limit + 1)
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
            if row.state != "done" and waits(session, row, lambda held: listed.has_any(session, row.id, held)):
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
    if not waits(session, row, lambda _: False):
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


def _require(session: Session, project: str, erasure_id: UUID) -> Erasure:
    row = store.of_id(session, project, erasure_id)
    if row is None:
        raise NotFound(f"Project {project} has no erasure {erasure_id}.", code="erasure_not_found")
    return row


def _shown(session: Session, row: Erasure, *, certified: bool = True) -> wire.Erasure:
    ended = certified and row.state == "done"
    return erasure_of(session, row, listed.events_of(session, row.id, limit=EVENTS_SHOWN) if ended else None)
