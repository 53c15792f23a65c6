"""Changes and reads a project's settings on redaction and actors, and checks the key of pseudonyms.

One key makes the pseudonyms of all projects. Its fingerprint is in Postgres, so that a process that was started with
another key stores nothing in such a project, rather than giving the same person two pseudonyms.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import cast

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import settings
from app.errors import Conflict, Fault, Invalid, Unavailable
from app.privacy.redaction import detection
from app.privacy.redaction.findings import BUILT_IN_KINDS, KINDS
from app.projects.protection import store
from app.projects.protection.pseudonyms import Pseudonyms, fingerprint
from app.projects.protection.setting import ProjectProtection, Protection
from app.projects.protection.tables import ProtectionVersion

#: Versions by which a retry is compared with what is stored.
MOST_VERSIONS = 20
NO_KEY = (
    "This process has no key of pseudonyms: set THUMBWHEEL_PSEUDONYM_KEY to at least 32 random bytes, the same ones in "
    "every process (`openssl rand -hex 32`)."
)
OTHER_KEY = (
    "THUMBWHEEL_PSEUDONYM_KEY of this process is not the key that the pseudonyms in the log were made by: start it "
    "with that one."
)


def require_known(rules: wire.RedactionRules) -> wire.RedactionRules:
    """Returns the rules, with the names of the built-in kinds where none are named. Raises `Invalid` for a kind that is
    unknown, or that this machine cannot find.
    """
    kinds = sorted(BUILT_IN_KINDS if rules.kinds is None else set(rules.kinds))
    known = ", ".join(KINDS)
    faults = [
        Fault(f"/redaction/kinds/{place}", f"there is no kind of this name: choose of {known}")
        for place, kind in enumerate(rules.kinds or ())
        if kind not in KINDS
    ]
    if not kinds and rules.mode != "off":
        faults.append(Fault("/redaction/kinds", f"is empty, so nothing would be found: name kinds of {known}"))
    if faults:
        what = "; ".join(f"{fault.pointer}: {fault.message}" for fault in faults)
        raise Invalid(f"The redaction is wrong: {what}.", code="invalid_redaction", faults=faults)
    if rules.mode == "off":
        return rules
    reason = detection.reason_to_refuse(frozenset(kinds))
    if reason is not None:
        fault = Fault("/redaction/kinds", reason)
        raise Invalid(f"/redaction/kinds: {reason}", code="invalid_redaction", faults=[fault])
    return rules.model_copy(update={"kinds": kinds})


def adopt(session: Session, project: str, rules: wire.RedactionRules, actors: wire.ActorForm) -> datetime | None:
    """Makes these the settings of the project, whose row the caller has locked, and returns since when they hold.

    Until the caller holds the log's lock, transactions may still store feedback by the settings before.

    Raises `Conflict` if they need a key of pseudonyms that this process does not have.
    """
    before = next(iter(store.newest_first(session, project, 1)), None)
    kinds = frozenset(rules.kinds or ()) if rules.mode != "off" else frozenset[str]()
    wanted = Protection(None, rules.mode, kinds, actors == "hashed")
    if _says(before) == (wanted.mode, wanted.kinds, wanted.hashes_actors):
        return None if before is None else before.created_at
    if wanted.changes_feedback:
        _adopt_key(session, project)
    return store.append(
        session, project, wanted.mode, sorted(wanted.kinds), hashes_actors=wanted.hashes_actors
    ).created_at


def findings(session: Session, project: str) -> list[wire.RedactionFinding]:
    """Returns the number of findings by mode and kind."""
    return [wire.RedactionFinding.model_validate(row) for row in store.findings(session, project)]


def protection_of(session: Session, project: str) -> ProjectProtection:
    """Returns the settings of a project: the last versions, and an older one if actors were hashed only before them."""
    rows = [*store.newest_first(session, project, MOST_VERSIONS)]
    if len(rows) == MOST_VERSIONS and not any(row.hashes_actors for row in rows):
        hashing = store.newest_hashing(session, project, rows[-1].number)
        rows += [] if hashing is None else [hashing]
    return protection(project, map(_version, rows), store.key_fingerprint(session) if rows else None)


def protection(project: str, newest_first: Iterable[Protection], stored: bytes | None) -> ProjectProtection:
    """Returns the settings of a project with the pseudonyms that they need.

    stored  the fingerprint of the key in Postgres
    """
    newest, *earlier = [*newest_first] or [Protection()]
    if not any(each.changes_feedback for each in (newest, *earlier)):
        return ProjectProtection(newest, tuple(earlier))
    key = _key()
    trouble = NO_KEY if key is None else OTHER_KEY if fingerprint(key) != stored else None
    pseudonyms = None if key is None or trouble else Pseudonyms(key, project)
    return ProjectProtection(newest, tuple(earlier), pseudonyms, trouble)


def forms_of_actor(session: Session, project: str, actor: str) -> tuple[str, ...]:
    """Returns the ids under which events of the actor may be stored: see `ProjectProtection.forms_of`.

    Raises `Unavailable` if actors of the project are or were hashed, and this process has not the key.
    """
    known = protection_of(session, project)
    if known.trouble is not None and any(each.hashes_actors for each in (known.newest, *known.earlier)):
        raise Unavailable(known.trouble, code="pseudonym_key")
    return known.forms_of(actor)


def key_replaced_at(session: Session, project: str) -> datetime | None:
    """Returns since when nobody can tell the hashes of all actors of the project, as the key that made them was
    replaced; None if it was not."""
    return store.key_replaced_at(session, project)


def trouble_with_key(session: Session) -> str | None:
    """Returns why this process can store nothing in some of the projects, None if it can."""
    stored = store.key_fingerprint(session)
    if stored is None or not store.projects_with_pseudonyms(session):
        return None
    key = _key()
    return NO_KEY if key is None else OTHER_KEY if fingerprint(key) != stored else None


def _adopt_key(session: Session, project: str) -> None:
    """Stores the fingerprint of this process's key, unless it is there. Raises `Conflict`.

    Another key may take its place once no project has pseudonyms any more.
    """
    key = _key()
    if key is None:
        raise Conflict(NO_KEY, code="no_pseudonym_key")
    store.lock_key(session)
    stored = store.key_fingerprint(session)
    if stored == fingerprint(key):
        return
    others = [other for other in store.projects_with_pseudonyms(session) if other != project]
    if stored is not None and others:
        raise Conflict(f"{OTHER_KEY} Project {others[0]} has pseudonyms by it.", code="other_pseudonym_key")
    store.set_key(session, fingerprint(key))


def _key() -> bytes | None:
    key = settings.current().pseudonym_key
    return None if key is None else key.get_secret_value().encode()


def _says(row: ProtectionVersion | None) -> tuple[str, frozenset[str], bool]:
    return ("off", frozenset(), False) if row is None else (row.mode, frozenset(row.kinds), row.hashes_actors)


def _version(row: ProtectionVersion) -> Protection:
    return Protection(row.id, cast("wire.RedactionMode", row.mode), frozenset(row.kinds), row.hashes_actors)
