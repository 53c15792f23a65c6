"""The suites of a project: immutable versions, and which of them every evaluation runs.

The suites that come with the server are there for every project as version 0 of their name. They are in no table.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from heapq import merge
from itertools import islice
from typing import Any

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access.operator_log import service as operator_log
from app.bounded_yaml import load
from app.errors import Fault, Faults, Invalid, NotFound, Refused
from app.pages import MAX_INT4, Page, key_of_cursor, number_up_to, page_of
from app.projects import service as projects
from app.suites import own
from app.suites.documents import document_of, faults_of, read, sha256_of
from app.suites.samples import samples_of
from app.suites.versions import store
from app.suites.versions.tables import SuiteAdoption, SuiteVersion

#: Suites that a project may adopt at once: every evaluation runs all of them.
MOST_ADOPTED = 20
OF_SERVER = 0
THUMBWHEEL = "thumbwheel"


def create(session: Session, project: str, new: wire.NewSuite, by: str) -> tuple[wire.SuiteVersion, bool]:
    """Stores a suite without adopting it. Returns its version, and whether it is new: the same suite again, with any
    note, is the existing version. Raises `Invalid` with all faults, and `NotFound` for an unknown project.
    """
    faults = faults_of(new.suite)
    if faults:
        placed = Faults((Fault(f"/suite{fault.pointer}", fault.message) for fault in faults), faults.total)
        raise Invalid(f"The suite is invalid: {placed.sentence()}", code="invalid_suite", faults=placed)
    projects.lock(session, project)  # versions are counted one after the other
    sha256 = sha256_of(new.suite)
    row = store.of_sha256(session, project, sha256)
    known = row is not None
    if row is None:
        row = store.insert_version(
            session,
            {
                "project_id": project,
                "name": new.suite.name,
                "version": store.newest_version(session, project, new.suite.name) + 1,
                "document": document_of(new.suite),
                "sha256": sha256,
                "tests": len(new.suite.tests),
                "samples": len(samples_of(new.suite)),
                "note": new.note,
                "created_by": by,
            },
        )
    operator_log.note(session, suite=row.name, version=row.version)
    return _shown(row, _adopted_versions(session, project)), not known


def get(session: Session, project: str, name: str, version: int) -> wire.StoredSuite:
    """Returns a version with its document. Raises `NotFound`."""
    adopted_versions = _adopted_versions(session, project)
    if version == OF_SERVER and name in own.names():
        suite = _of_server(name)
        return wire.StoredSuite(**vars(_shown_of_server(name, adopted_versions)), suite=suite)
    row = store.of_version(session, project, name, version) if 0 < version <= MAX_INT4 else None
    if row is None:
        raise _unknown(session, project, name, version)
    suite = wire.Suite.model_validate(row.document)
    return wire.StoredSuite(**vars(_shown(row, adopted_versions)), suite=suite)


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.SuiteVersion]:
    """Returns the versions by name, each name's newest first, with those of the server."""
    projects.get(session, project)
    after = key_of_cursor(cursor, _key)
    adopted_versions = _adopted_versions(session, project)
    stored = (_shown(row, adopted_versions) for row in store.by_name(session, project, after, limit + 1))
    of_server = (
        _shown_of_server(name, adopted_versions)
        for name in own.names()
        if after is None or name > after[0] or (name == after[0] and after[1] > OF_SERVER)
    )
    both = merge(stored, of_server, key=lambda item: (item.name, -item.version))
    items = list(islice(both, limit + 1))
    return page_of(items, limit, lambda item: f"{item.version} {item.name}", lambda item: item)


def adopted(session: Session, project: str) -> list[wire.SuiteVersion]:
    """Returns the adopted versions by name."""
    projects.get(session, project)
    entries = store.adopted(session, project)
    adopted_versions = {entry.name: entry.version or OF_SERVER for entry in entries}
    stored = {row.name: _shown(row, adopted_versions) for row in store.of_adoptions(session, project, entries)}
    known = own.names()
    return [
        stored.get(entry.name) or _shown_of_server(entry.name, adopted_versions)
        for entry in entries
        if entry.name in stored or entry.name in known  # a later server may come without one of its suites
    ]


def history(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.SuiteAdoption]:
    """Returns the ledger, newest entry first."""
    projects.get(session, project)
    rows = store.newest_adoptions_first(session, project, key_of_cursor(cursor, number_up_to(MAX_INT4)), limit + 1)
    return page_of(rows, limit, lambda row: str(row.number), _entry)


def decide(session: Session, project: str, new: wire.NewSuiteAdoption, by: str) -> wire.SuiteAdoption:
    """Adopts a version of a suite for all runs that are requested from now on, or drops the suite.

    Raises `NotFound` for an unknown version, and `Refused` if nothing would change or too many suites are adopted.
    """
    projects.lock(session, project)
    adopted_versions = _adopted_versions(session, project)
    if new.version is None:
        _require_adopted(new.name, adopted_versions)
    else:
        _require_known(session, project, new.name, new.version)
        _require_adoptable(new.name, new.version, adopted_versions)
    operator_log.note(session, suite=new.name, version=new.version)
    return _entry(_append(session, project, new.name, new.version, new.reason, by))


def begin(session: Session, project: str, names: Sequence[str] | None) -> None:
    """Adopts suites of the server for a new project; None stands for all of them. Raises `Invalid`."""
    known = own.names()
    chosen = known if names is None else list(dict.fromkeys(names))
    faults = [
        Fault(f"/suites/{number}", f"no suite of this server is named {name!r}: use {', '.join(known)}")
        for number, name in enumerate(names or ())
        if name not in known
    ]
    if faults:
        raise Invalid(f"{faults[0].pointer}: {faults[0].message}.", code="unknown_suite", faults=faults)
    for name in chosen:
        _append(session, project, name, OF_SERVER, "adopted with the creation of the project", THUMBWHEEL)


def for_run(session: Session, project: str) -> list[dict[str, Any]]:
    """Returns name, version and sha256 of each adopted suite, for the row of a run."""
    return [item.model_dump(mode="json", include={"name", "version", "sha256"}) for item in adopted(session, project)]


def documents(session: Session, project: str, chosen: Iterable[wire.SuiteOfRun]) -> list[dict[str, Any]]:
    """Returns the suites of a run with their documents. That of a suite of the server, and so its sha256, may have
    changed since the run was requested. Raises `NotFound` if this server comes without one of them.
    """
    items = (get(session, project, suite.name, suite.version) for suite in chosen)
    return [
        {"name": item.name, "version": item.version, "sha256": item.sha256, "document": document_of(item.suite)}
        for item in items
    ]


def _append(session: Session, project: str, name: str, version: int | None, reason: str, by: str) -> SuiteAdoption:
    newest = store.newest_adoptions_first(session, project, None, 1)
    return store.append_adoption(
        session,
        {
            "project_id": project,
            "number": newest[0].number + 1 if newest else 1,
            "name": name,
            "stored_version": version or None,
            "dropped": version is None,
            "reason": reason,
            "by": by,
        },
    )


def _adopted_versions(session: Session, project: str) -> dict[str, int]:
    return {entry.name: entry.version or OF_SERVER for entry in store.adopted(session, project)}


def _require_adopted(name: str, adopted_versions: dict[str, int]) -> None:
    if name not in adopted_versions:
        listing = ", ".join(adopted_versions) or "none"
        raise Refused(
            f"The suite {name!r} is not adopted (adopted: {listing}). Nothing was changed.", code="suite_not_adopted"
        )


def _require_adoptable(name: str, version: int, adopted_versions: dict[str, int]) -> None:
    if adopted_versions.get(name) == version:
        raise Refused(
            f"Version {version} of the suite {name!r} is adopted already. Nothing was changed.",
            code="suite_adopted_already",
        )
    if name not in adopted_versions and len(adopted_versions) >= MOST_ADOPTED:
        raise Refused(
            f"{MOST_ADOPTED} suites are adopted, and every evaluation runs all of them: drop one first.",
            code="too_many_suites",
        )


def _require_known(session: Session, project: str, name: str, version: int) -> None:
    known = name in own.names() if version == OF_SERVER else store.exists(session, project, name, version)
    if not known:
        raise _unknown(session, project, name, version)


def _unknown(session: Session, project: str, name: str, version: int) -> NotFound:
    newest = store.newest_version(session, project, name)
    if newest:
        have = f"its newest version is {newest}"
    elif name in own.names():
        have = "only version 0, which comes with the server, exists"
    else:
        have = "it has no suite of this name"
    return NotFound(f"Project {project} has no version {version} of a suite {name!r}: {have}.", code="suite_not_found")


@lru_cache
def _of_server(name: str) -> wire.Suite:
    suite = read(load(own.text_of(name)))
    assert isinstance(suite, wire.Suite)
    return suite


@lru_cache
def _version_of_server(name: str) -> wire.SuiteVersion:
    suite = _of_server(name)
    return wire.SuiteVersion(
        name=name,
        version=OF_SERVER,
        sha256=sha256_of(suite),
        tests=len(suite.tests),
        samples=len(samples_of(suite)),
        note="comes with this server",
        adopted=False,
        created_at=None,
        created_by=None,
    )


def _shown_of_server(name: str, adopted_versions: dict[str, int]) -> wire.SuiteVersion:
    return _version_of_server(name).model_copy(update={"adopted": adopted_versions.get(name) == OF_SERVER})


def _shown(row: SuiteVersion, adopted_versions: dict[str, int]) -> wire.SuiteVersion:
    columns = {name: getattr(row, name) for name in wire.SuiteVersion.model_fields if name != "adopted"}
    return wire.SuiteVersion(**columns, adopted=adopted_versions.get(row.name) == row.version)


def _entry(row: SuiteAdoption) -> wire.SuiteAdoption:
    return wire.SuiteAdoption.model_validate(row)


def _key(text: str) -> tuple[str, int]:
    version, _, name = text.partition(" ")
    if not name or "\0" in name:
        raise ValueError(text)
    return name, number_up_to(MAX_INT4)(version)
