"""SQL of stored readiness."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database import now
from app.readiness.tables import KeptReadiness


def kept(session: Session, project: str) -> KeptReadiness | None:
    return session.get(KeptReadiness, project)


def keep(session: Session, project: str, basis: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    values = {"basis": dict(basis), "found": dict(found), "at": now()}
    session.execute(
        insert(KeptReadiness)
        .values(project_id=project, **values)
        .on_conflict_do_update(index_elements=["project_id"], set_=values)
    )
