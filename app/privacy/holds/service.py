"""Decides which feedback legal holds cover, and stores them with their releases.

    project     everything of the project
    actor       the actor's events, and everything about the completions that the actor judged
    completion  every event about it, and its registered text

All code that deletes feedback calls `in_force` first, in the transaction that deletes, which holds the shared lock of
the holds to its end. A hold is placed under the exclusive lock: once that is committed, nothing it covers is deleted.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.database import now
from app.errors import Conflict, Forbidden, Invalid, NotFound
from app.feedback import service as feedback
from app.feedback.expiry import service as expiry
from app.pages import Page, key_of_cursor, page_of
from app.privacy.holds import store
from app.privacy.holds.tables import LegalHold, LegalHoldRelease
from app.projects import service as projects
from app.projects.protection import service as protections


@dataclass(frozen=True)
class HoldsInForce:
    """The holds of a project that are in force.

    ids          of all of them, oldest first
    whole        of those on the project itself, and on actors some of whose hashes nobody can tell any more
    actors       ids under which events of the held actors may be stored, with their hold
    completions  ids of the completions that are held themselves, with their hold
    """

    project: str
    ids: list[UUID]
    whole: list[UUID]
    actors: dict[str, UUID]
    completions: dict[str, UUID]

    def held(self, session: Session) -> set[str]:
        """Returns the completions that the holds on actors and completions cover."""
        return {*self.completions, *expiry.judged_by(session, self.project, self.actors)}

    def covering(self, session: Session, judged_any: Callable[[Collection[str]], bool]) -> list[UUID]:
        """Returns the holds on actors and completions that cover one of the completions of which `judged_any` says
        that they are concerned."""
        judged = [(hold, expiry.judged_by(session, self.project, [actor])) for actor, hold in self.actors.items()]
        themselves = [(hold, {completion_id}) for completion_id, hold in self.completions.items()]
        held = [hold for hold, completion_ids in (*themselves, *judged) if judged_any(completion_ids)]
        return list(dict.fromkeys(held))

    def over(self, forms: Sequence[str]) -> list[UUID]:
        """Returns the holds that cover all feedback of the actor with these ids."""
        return list(dict.fromkeys([*self.whole, *(self.actors[form] for form in forms if form in self.actors)]))


def place(session: Session, project: str, new: wire.NewHold, by: str) -> wire.LegalHold:
    """Places a hold, or returns the one that the same key placed for the same reason and that is in force.

    Raises `NotFound` for an actor or a completion that the project does not have, and `Invalid` for an end in the past.
    """
    projects.get(session, project)
    if new.until is not None and new.until <= now():
        raise Invalid("until: lies in the past: give a later time, or leave it out.", code="invalid_request")
    kind, subject = _subject(session, project, new)
    store.lock(session, _lock_key(project))
    for hold in store.in_force(session, project, now()):
        if (hold.kind, hold.subject, hold.reason, hold.until, hold.placed_by) == (
            kind, subject, new.reason, new.until, by,
        ):  # fmt: skip
            return _shown(hold, None)
    values = {
        "project_id": project,
        "kind": kind,
        "subject": subject,
        "actor_sha256": feedback.actor_sha256(project, subject) if kind == "actor" and subject else None,
        "reason": new.reason,
        "placed_by": by,
        "until": new.until,
    }
    return _shown(store.insert_hold(session, values), None)


def release(session: Session, project: str, hold_id: UUID, reason: str, by: str, *, limited: bool) -> wire.LegalHold:
    """Releases a hold. A second call changes nothing.

    limited  whether the caller's key opens this project alone

    Raises `NotFound`, `Forbidden` unless the key placed the hold or opens every project, and `Conflict` for a hold
    that has ended by itself.
    """
    hold, before = _require(session, project, hold_id)
    if hold.placed_by != by and limited:
        raise Forbidden(
            f"Hold {hold_id} was placed by {hold.placed_by}: release it with that key, or with an admin key that opens "
            "every project.",
            code="not_the_holder",
        )
    store.lock(session, _lock_key(project))
    hold, before = _require(session, project, hold_id)
    if before is not None:
        return _shown(hold, before)
    if hold.until is not None and hold.until <= now():
        raise Conflict(
            f"Hold {hold_id} ended by itself at {hold.until}: nothing is left to release.", code="hold_ended"
        )
    values = {"hold_id": hold_id, "released_by": by, "reason": reason}
    return _shown(hold, store.insert_release(session, values))


def get(session: Session, project: str, hold_id: UUID) -> wire.LegalHold:
    """Returns a hold. Raises `NotFound`."""
    return _shown(*_require(session, project, hold_id))


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.LegalHold]:
    """Returns a page of the project's holds, newest first, those that have ended among them."""
    rows = store.newest_first(session, project, key_of_cursor(cursor, UUID), limit + 1)
    return page_of(rows, limit, lambda row: str(row[0].id), lambda row: _shown(*row))


def in_force(session: Session, project: str) -> HoldsInForce:
    """Returns the holds in force. No other is placed until the transaction ends, which may delete what they leave.

    Raises `Unavailable` if actors are held whose hashes this process lacks the key of.
    """
    store.lock_shared(session, _lock_key(project))
    return look(session, project)


def look(session: Session, project: str) -> HoldsInForce:
    """Returns the holds in force for somebody who deletes nothing."""
    rows = store.in_force(session, project, now())
    replaced_at = protections.key_replaced_at(session, project)
    return HoldsInForce(
        project,
        ids=[hold.id for hold in rows],
        whole=[hold.id for hold in rows if hold.kind == "project" or _has_lost_hashes(hold, replaced_at)],
        actors={
            form: hold
            for actor, hold in _by_subject(rows, "actor").items()
            for form in protections.forms_of_actor(session, project, actor)
        },
        completions=_by_subject(rows, "completion"),
    )


def of_all_projects(session: Session) -> dict[str, int]:
    """Returns the number of holds in force by project; projects without one are absent."""
    counts: dict[str, int] = {}
    for hold in store.in_force(session, None, now()):
        counts[hold.project_id] = counts.get(hold.project_id, 0) + 1
    return counts


def forget_actor(session: Session, project: str, forms: Sequence[str]) -> int:
    """Takes the ids of an actor who is being erased out of holds that have ended; returns the number of holds.

    Raises `Unavailable` if actors were held whose hashes this process lacks the key of.
    """
    named = {
        actor
        for actor in store.actors(session, project)
        if not set(forms).isdisjoint(protections.forms_of_actor(session, project, actor))
    }
    return store.forget_actor(session, project, [*named]) if named else 0


def sentence(hold_ids: Sequence[UUID]) -> str:
    """Returns what waits for these holds, with the remedy."""
    named = ", ".join(map(str, hold_ids[:3])) + (" and others" if len(hold_ids) > 3 else "")
    plural = "s" if len(hold_ids) > 1 else ""
    return (
        f"Legal hold{plural} {named} cover{'' if plural else 's'} it: nothing is deleted until the release "
        "(`thumbwheel holds release ID`) or the end of the hold."
    )


def _subject(session: Session, project: str, new: wire.NewHold) -> tuple[wire.HoldKind, str | None]:
    if new.actor is not None:
        forms = protections.forms_of_actor(session, project, new.actor)
        if not any(expiry.knows_actor(session, project, form) for form in forms):
            raise NotFound(f"No feedback of an actor {new.actor!r} is stored: check the id.", code="actor_not_found")
        return "actor", new.actor
    if new.completion_id is not None:
        if not expiry.knows_completion(session, project, new.completion_id):
            raise NotFound(
                f"Project {project} has no completion {new.completion_id!r}: check the id.", code="completion_not_found"
            )
        return "completion", new.completion_id
    return "project", None


def _has_lost_hashes(hold: LegalHold, replaced_at: datetime | None) -> bool:
    return hold.kind == "actor" and replaced_at is not None and hold.placed_at < replaced_at


def _by_subject(rows: Sequence[LegalHold], kind: wire.HoldKind) -> dict[str, UUID]:
    return {hold.subject: hold.id for hold in rows if hold.kind == kind and hold.subject is not None}


def _lock_key(project: str) -> int:
    return int.from_bytes(hashlib.sha256(f"thumbwheel holds {project}".encode()).digest()[:8], "big", signed=True)


def _require(session: Session, project: str, hold_id: UUID) -> store.Read:
    row = store.of_id(session, project, hold_id)
    if row is None:
        raise NotFound(f"Project {project} has no legal hold {hold_id}.", code="hold_not_found")
    return row


def _shown(hold: LegalHold, release: LegalHoldRelease | None) -> wire.LegalHold:
    return wire.LegalHold.model_validate(
        {
            **{name: getattr(hold, name) for name in ("id", "kind", "subject", "reason", "placed_at", "placed_by")},
            "project": hold.project_id,
            "until": hold.until,
            "in_force": release is None and (hold.until is None or hold.until > now()),
            "released_at": release and release.released_at,
            "released_by": release and release.released_by,
            "release_reason": release and release.reason,
        }
    )
