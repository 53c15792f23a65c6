"""SQL of stored readiness."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database import now
from app.readiness.tables import KeptReadiness


def kept(session: Session, project: str) -> KeptReadiness | None:
    return session.get(KeptReadiness, project)


def kept_counts(session: Session) -> Sequence[tuple[str, dict[str, int], dict[str, int]]]:
    """Returns project, labels and new labels by class of every stored forecast."""
    found = KeptReadiness.found
    return session.execute(select(KeptReadiness.project_id, found["counts"], found["new"])).tuples().all()


def keep(session: Session, project: str, basis: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    values = {"basis": dict(basis), "found": dict(found), "at": now()}
    session.execute(
        insert(KeptReadiness)
        .values(project_id=project, **values)
        .on_conflict_do_update(index_elements=["project_id"], set_=values)
    )
