"""Gates of a project: immutable versions, and which version new runs are judged by.

The adopted version is also a part of the project's configuration, which runs keep; both are written under the lock of
the project.
"""

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access.operator_log import service as operator_log
from app.errors import Fault, Invalid, NotFound, Refused
from app.gates import documents, store
from app.gates.tables import GatesVersion
from app.pages import MAX_INT4, Page, key_of_cursor, number_up_to, page_of
from app.projects import service as projects


def require_valid(choice: wire.GateChoice, *, at: str = "/gates") -> wire.GateDocument:
    """Returns the document of a choice. Raises `Invalid` with every fault, below the pointer `at`."""
    gates = documents.document_of(choice)
    faults = documents.faults_of(gates)
    if faults:
        placed = [Fault(at + fault.pointer, fault.message) for fault in faults]
        listed = "; ".join(f"{fault.pointer}: {fault.message}" for fault in placed)
        raise Invalid(f"The gates are wrong: {listed}.", code="invalid_gates", faults=placed)
    return gates


def begin(session: Session, project: str, adopted: wire.AdoptedGates, by: str) -> None:
    """Stores and adopts the first version of a project that was just inserted with it."""
    _insert(session, project, adopted, "", by)
    _append(session, project, adopted.version, "the project's first gates", by)


def adopted(session: Session, project: str) -> wire.StoredGates:
    """Returns the adopted version. Raises `NotFound` for an unknown project."""
    return get(session, project, projects.get(session, project).gates.version)


def get(session: Session, project: str, version: int) -> wire.StoredGates:
    """Returns a version of the gates. Raises `NotFound`."""
    return _shown(_require(session, project, version), _adopted_version(session, project))


def create(session: Session, project: str, new: wire.NewGates, by: str) -> tuple[wire.StoredGates, bool]:
    """Stores gates without adopting them. Returns their version, and whether it is new: the same document again, with
    any note, is the existing version. Raises `Invalid` with every fault, and `NotFound` for an unknown project.
    """
    gates = require_valid(new.gates)
    adopted_version = projects.lock(session, project).gates.version  # versions are counted one after the other
    row, is_new = _stored(session, project, gates, new.note, by)
    operator_log.note(session, version=row.version)
    return _shown(row, adopted_version), is_new


def adopt(session: Session, project: str, version: int, reason: str, by: str) -> wire.GatesAdoption:
    """Adopts `version` for new runs. Requested runs keep the gates that they began with.

    Raises `NotFound` for an unknown version, `Refused` if it is adopted already.
    """
    adopted_version = projects.lock(session, project).gates.version
    row = _require(session, project, version)
    if version == adopted_version:
        raise Refused(f"Version {version} is adopted already. Nothing was changed.", code="gates_adopted_already")
    return _adopt(session, project, row, reason, by)


def adopt_document(session: Session, project: str, choice: wire.GateChoice, by: str) -> None:
    """Stores a document unless it is a version, and adopts it unless it is adopted. Raises like `create`."""
    gates = require_valid(choice)
    adopted_version = projects.lock(session, project).gates.version
    row, _ = _stored(session, project, gates, "", by)
    if row.version != adopted_version:
        _adopt(session, project, row, "a change of the project's configuration", by)


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.StoredGates]:
    """Returns the project's versions, the newest first."""
    rows = store.newest_versions_first(session, project, key_of_cursor(cursor, number_up_to(MAX_INT4)), limit + 1)
    adopted_version = _adopted_version(session, project)
    return page_of(rows, limit, lambda row: str(row.version), lambda row: _shown(row, adopted_version))


def history(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.GatesAdoption]:
    """Returns the adoptions, the newest first; the last one is the project's first gates."""
    rows = store.newest_adoptions_first(session, project, key_of_cursor(cursor, number_up_to(MAX_INT4)), limit + 1)
    return page_of(rows, limit, lambda row: str(row.number), wire.GatesAdoption.model_validate)


def _adopted_version(session: Session, project: str) -> int:
    return projects.get(session, project).gates.version


def _stored(session: Session, project: str, gates: wire.GateDocument, note: str, by: str) -> tuple[GatesVersion, bool]:
    """Returns the version of the document, stored unless it is one, and whether it is new."""
    row = store.of_sha256(session, project, documents.sha256_of(gates))
    if row is not None:
        return row, False
    version = store.newest_version(session, project) + 1
    return _insert(session, project, documents.adopted(gates, version), note, by), True


def _insert(session: Session, project: str, gates: wire.AdoptedGates, note: str, by: str) -> GatesVersion:
    return store.insert_version(
        session,
        {
            "project_id": project,
            "version": gates.version,
            "document": documents.values_of(gates.document),
            "sha256": gates.sha256,
            "note": note,
            "created_by": by,
        },
    )


def _adopt(session: Session, project: str, row: GatesVersion, reason: str, by: str) -> wire.GatesAdoption:
    document = wire.GateDocument.model_validate(row.document)
    projects.set_gates(session, project, documents.adopted(document, row.version))
    return _append(session, project, row.version, reason, by)


def _append(session: Session, project: str, version: int, reason: str, by: str) -> wire.GatesAdoption:
    newest = store.newest_adoptions_first(session, project, None, 1)
    row = store.append_adoption(
        session,
        {
            "project_id": project,
            "number": newest[0].number + 1 if newest else 1,
            "version": version,
            "reason": reason,
            "by": by,
        },
    )
    return wire.GatesAdoption.model_validate(row)


def _require(session: Session, project: str, version: int) -> GatesVersion:
    row = store.of_version(session, project, version) if 0 < version <= MAX_INT4 else None
    if row is None:
        newest = store.newest_version(session, project)
        raise NotFound(
            f"Project {project} has no version {version} of its gates: the newest version is {newest}.",
            code="gates_not_found",
        )
    return row


def _shown(row: GatesVersion, adopted_version: int) -> wire.StoredGates:
    return wire.StoredGates(
        version=row.version,
        document=wire.GateDocument.model_validate(row.document),
        sha256=row.sha256,
        note=row.note,
        adopted=row.version == adopted_version,
        created_at=row.created_at,
        created_by=row.created_by,
    )
