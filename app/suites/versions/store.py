"""SQL of a project's suites: their versions, and the ledger of adoptions."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, insert, select, tuple_
from sqlalchemy.orm import Session, aliased, undefer

from app.suites.versions.tables import SuiteAdoption, SuiteVersion


def of_version(session: Session, project: str, name: str, version: int) -> SuiteVersion | None:
    """Returns a version with its document."""
    key = SuiteVersion.project_id == project, SuiteVersion.name == name, SuiteVersion.version == version
    query = select(SuiteVersion).where(*key).options(undefer(SuiteVersion.document))
    return session.scalars(query).one_or_none()


def exists(session: Session, project: str, name: str, version: int) -> bool:
    key = SuiteVersion.project_id == project, SuiteVersion.name == name, SuiteVersion.version == version
    return session.execute(select(SuiteVersion.version).where(*key)).first() is not None


def of_sha256(session: Session, project: str, sha256: str) -> SuiteVersion | None:
    key = SuiteVersion.project_id == project, SuiteVersion.sha256 == sha256
    return session.scalars(select(SuiteVersion).where(*key)).one_or_none()


def newest_version(session: Session, project: str, name: str) -> int:
    """Returns the highest version of a name, 0 if there is none."""
    key = SuiteVersion.project_id == project, SuiteVersion.name == name
    return session.execute(select(func.coalesce(func.max(SuiteVersion.version), 0)).where(*key)).scalar_one()


def insert_version(session: Session, values: dict[str, Any]) -> SuiteVersion:
    return session.scalars(insert(SuiteVersion).values(**values).returning(SuiteVersion)).one()


def by_name(session: Session, project: str, after: tuple[str, int] | None, limit: int) -> Sequence[SuiteVersion]:
    """Returns versions without their documents, by name and each name's newest first."""
    query = select(SuiteVersion).where(SuiteVersion.project_id == project)
    if after is not None:
        name, version = after
        same_name = (SuiteVersion.name == name) & (SuiteVersion.version < version)
        query = query.where((SuiteVersion.name > name) | same_name)
    return session.scalars(query.order_by(SuiteVersion.name, SuiteVersion.version.desc()).limit(limit)).all()


def adopted(session: Session, project: str) -> Sequence[SuiteAdoption]:
    """Returns the newest entry of each name, by name, without those that were dropped."""
    newest = aliased(
        SuiteAdoption,
        select(SuiteAdoption)
        .where(SuiteAdoption.project_id == project)
        .distinct(SuiteAdoption.name)
        .order_by(SuiteAdoption.name, SuiteAdoption.number.desc())
        .subquery(),
    )
    return session.scalars(select(newest).where(~newest.dropped).order_by(newest.name)).all()


def of_adoptions(session: Session, project: str, adoptions: Sequence[SuiteAdoption]) -> Sequence[SuiteVersion]:
    """Returns the stored versions that the entries name, without their documents."""
    keys = [(entry.name, entry.stored_version) for entry in adoptions if entry.stored_version is not None]
    chosen = tuple_(SuiteVersion.name, SuiteVersion.version).in_(keys)
    return session.scalars(select(SuiteVersion).where(SuiteVersion.project_id == project, chosen)).all()


def newest_adoptions_first(session: Session, project: str, before: int | None, limit: int) -> Sequence[SuiteAdoption]:
    query = select(SuiteAdoption).where(SuiteAdoption.project_id == project)
    if before is not None:
        query = query.where(SuiteAdoption.number < before)
    return session.scalars(query.order_by(SuiteAdoption.number.desc()).limit(limit)).all()


def append_adoption(session: Session, values: dict[str, Any]) -> SuiteAdoption:
    return session.scalars(insert(SuiteAdoption).values(**values).returning(SuiteAdoption)).one()
