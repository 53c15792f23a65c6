"""SQL of what users think of each release."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from app.monitoring.approval.tables import LabelsOfRelease, ReleaseReading


def reading(session: Session, project: str) -> ReleaseReading | None:
    return session.get(ReleaseReading, project, populate_existing=True)


def labels(session: Session, project: str) -> Sequence[LabelsOfRelease]:
    """Returns the labels of releases, newest first."""
    query = select(LabelsOfRelease).where(LabelsOfRelease.project_id == project)
    return session.scalars(query.order_by(LabelsOfRelease.release_number.desc())).all()


def put(session: Session, project: str, reading: dict[str, Any], releases: Sequence[dict[str, Any]]) -> None:
    """Stores a reading in place of the one before. The caller holds the project's lock."""
    forget(session, project)
    session.execute(insert(ReleaseReading).values(project_id=project, **reading))
    if releases:
        session.execute(insert(LabelsOfRelease), [{"project_id": project, **values} for values in releases])


def forget(session: Session, project: str) -> None:
    for table in (ReleaseReading, LabelsOfRelease):
        session.execute(delete(table).where(table.project_id == project))
