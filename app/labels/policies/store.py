"""SQL of label policies: their versions, and the ledger of adoptions."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from app.labels.policies.tables import LabelPolicyAdoption, LabelPolicyVersion


def of_version(session: Session, project: str, version: int) -> LabelPolicyVersion | None:
    return session.get(LabelPolicyVersion, (project, version))


def of_sha256(session: Session, project: str, sha256: str) -> LabelPolicyVersion | None:
    query = select(LabelPolicyVersion).where(
        LabelPolicyVersion.project_id == project, LabelPolicyVersion.sha256 == sha256
    )
    return session.scalars(query).one_or_none()


def newest_version(session: Session, project: str) -> int:
    """Returns the highest version, 0 if there is none."""
    query = select(func.coalesce(func.max(LabelPolicyVersion.version), 0))
    return session.execute(query.where(LabelPolicyVersion.project_id == project)).scalar_one()


def insert_version(session: Session, values: dict[str, Any]) -> LabelPolicyVersion:
    return session.scalars(insert(LabelPolicyVersion).values(**values).returning(LabelPolicyVersion)).one()


def newest_versions_first(
    session: Session, project: str, before: int | None, limit: int
) -> Sequence[LabelPolicyVersion]:
    query = select(LabelPolicyVersion).where(LabelPolicyVersion.project_id == project)
    if before is not None:
        query = query.where(LabelPolicyVersion.version < before)
    return session.scalars(query.order_by(LabelPolicyVersion.version.desc()).limit(limit)).all()


def newest_adoptions_first(
    session: Session, project: str, before: int | None, limit: int
) -> Sequence[LabelPolicyAdoption]:
    query = select(LabelPolicyAdoption).where(LabelPolicyAdoption.project_id == project)
    if before is not None:
        query = query.where(LabelPolicyAdoption.number < before)
    return session.scalars(query.order_by(LabelPolicyAdoption.number.desc()).limit(limit)).all()


def append_adoption(session: Session, values: dict[str, Any]) -> LabelPolicyAdoption:
    return session.scalars(insert(LabelPolicyAdoption).values(**values).returning(LabelPolicyAdoption)).one()
