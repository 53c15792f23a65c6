"""SQL of gates: their versions, and the ledger of adoptions."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from app.gates.tables import GatesAdoption, GatesVersion


def of_version(session: Session, project: str, version: int) -> GatesVersion | None:
    return session.get(GatesVersion, (project, version))


def of_sha256(session: Session, project: str, sha256: str) -> GatesVersion | None:
    query = select(GatesVersion).where(GatesVersion.project_id == project, GatesVersion.sha256 == sha256)
    return session.scalars(query).one_or_none()


def newest_version(session: Session, project: str) -> int:
    """Returns the highest version, 0 if there is none."""
    query = select(func.coalesce(func.max(GatesVersion.version), 0))
    return session.execute(query.where(GatesVersion.project_id == project)).scalar_one()


def insert_version(session: Session, values: dict[str, Any]) -> GatesVersion:
    return session.scalars(insert(GatesVersion).values(**values).returning(GatesVersion)).one()


def newest_versions_first(session: Session, project: str, before: int | None, limit: int) -> Sequence[GatesVersion]:
    query = select(GatesVersion).where(GatesVersion.project_id == project)
    if before is not None:
        query = query.where(GatesVersion.version < before)
    return session.scalars(query.order_by(GatesVersion.version.desc()).limit(limit)).all()


def newest_adoptions_first(session: Session, project: str, before: int | None, limit: int) -> Sequence[GatesAdoption]:
    query = select(GatesAdoption).where(GatesAdoption.project_id == project)
    if before is not None:
        query = query.where(GatesAdoption.number < before)
    return session.scalars(query.order_by(GatesAdoption.number.desc()).limit(limit)).all()


def append_adoption(session: Session, values: dict[str, Any]) -> GatesAdoption:
    return session.scalars(insert(GatesAdoption).values(**values).returning(GatesAdoption)).one()
