"""Label policies of a project: immutable versions, and which version is adopted."""

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access.operator_log import service as operator_log
from app.errors import NotFound, Refused
from app.labels.policies import store
from app.labels.policies.documents import document_of, sha256_of
from app.labels.policies.tables import LabelPolicyAdoption, LabelPolicyVersion
from app.pages import Page, key_of_cursor, number_up_to, page_of
from app.projects import service as projects

#: The default of this server, adopted until another version is. It is in no table.
DEFAULT_VERSION = 0
#: The largest integer of Postgres.
MOST_VERSIONS = 2**31 - 1


def adopted(session: Session, project: str) -> wire.StoredLabelPolicy:
    """Returns the adopted policy."""
    return get(session, project, _adopted_version(session, project))


def get(session: Session, project: str, version: int) -> wire.StoredLabelPolicy:
    """Returns a version of the policy. Raises `NotFound`."""
    return _require(session, project, version, _adopted_version(session, project))


def create(session: Session, project: str, new: wire.NewLabelPolicy, by: str) -> tuple[wire.StoredLabelPolicy, bool]:
    """Stores a policy without adopting it. Returns its version, and whether it is new: the same policy again, with any
    note, is the existing version. Raises `NotFound` for an unknown project.
    """
    projects.lock(session, project)  # versions are counted one after the other
    sha256 = sha256_of(new.policy)
    row = store.of_sha256(session, project, sha256)
    known = row is not None
    if row is None:
        row = store.insert_version(
            session,
            {
                "project_id": project,
                "version": store.newest_version(session, project) + 1,
                "document": document_of(new.policy),
                "sha256": sha256,
                "note": new.note,
                "created_by": by,
            },
        )
    operator_log.note(session, version=row.version)
    return _shown(row, _adopted_version(session, project)), not known


def adopt(session: Session, project: str, version: int, reason: str, by: str) -> wire.LabelPolicyAdoption:
    """Adopts `version` for all labels from now on. Existing snapshots keep the policy that made them.

    Raises `NotFound` for an unknown version, `Refused` if it is adopted already.
    """
    projects.lock(session, project)
    adopted_version = _adopted_version(session, project)
    _require(session, project, version, adopted_version)
    if version == adopted_version:
        raise Refused(
            f"Version {version} is adopted already. Nothing was changed.", code="label_policy_adopted_already"
        )
    newest = store.newest_adoptions_first(session, project, None, 1)
    row = store.append_adoption(
        session,
        {
            "project_id": project,
            "number": newest[0].number + 1 if newest else 1,
            "stored_version": version or None,
            "reason": reason,
            "by": by,
        },
    )
    return _entry(row)


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.StoredLabelPolicy]:
    """Returns the project's versions, the newest first; the last one is the server's default."""
    rows = store.newest_versions_first(session, project, key_of_cursor(cursor, number_up_to(MOST_VERSIONS)), limit + 1)
    adopted_version = _adopted_version(session, project)
    items = [_shown(row, adopted_version) for row in rows]
    if len(items) <= limit:
        items.append(_default(adopted_version))
    return page_of(items, limit, lambda item: str(item.version), lambda item: item)


def history(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.LabelPolicyAdoption]:
    """Returns the adoptions, the newest first; none until a policy other than the default was adopted."""
    rows = store.newest_adoptions_first(session, project, key_of_cursor(cursor, number_up_to(MOST_VERSIONS)), limit + 1)
    return page_of(rows, limit, lambda row: str(row.number), _entry)


def _adopted_version(session: Session, project: str) -> int:
    newest = store.newest_adoptions_first(session, project, None, 1)
    return newest[0].version if newest else DEFAULT_VERSION


def _require(session: Session, project: str, version: int, adopted_version: int) -> wire.StoredLabelPolicy:
    if version == DEFAULT_VERSION:
        return _default(adopted_version)
    row = store.of_version(session, project, version) if 0 < version <= MOST_VERSIONS else None
    if row is None:
        newest = store.newest_version(session, project)
        raise NotFound(
            f"Project {project} has no label policy {version}: the newest version is {newest}.",
            code="label_policy_not_found",
        )
    return _shown(row, adopted_version)


def _default(adopted_version: int) -> wire.StoredLabelPolicy:
    policy = wire.LabelPolicy()
    return wire.StoredLabelPolicy(
        version=DEFAULT_VERSION,
        policy=policy,
        sha256=sha256_of(policy),
        note="the default that comes with this server",
        adopted=adopted_version == DEFAULT_VERSION,
        created_at=None,
        created_by=None,
    )


def _shown(row: LabelPolicyVersion, adopted_version: int) -> wire.StoredLabelPolicy:
    return wire.StoredLabelPolicy(
        version=row.version,
        policy=wire.LabelPolicy.model_validate(row.document),
        sha256=row.sha256,
        note=row.note,
        adopted=row.version == adopted_version,
        created_at=row.created_at,
        created_by=row.created_by,
    )


def _entry(row: LabelPolicyAdoption) -> wire.LabelPolicyAdoption:
    return wire.LabelPolicyAdoption.model_validate(row)
