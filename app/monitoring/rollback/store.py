"""SQL of automatic rollbacks that could not be carried out yet."""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database import now
from app.monitoring.rollback.tables import RollbackFailure


def failure(session: Session, project: str) -> RollbackFailure | None:
    return session.get(RollbackFailure, project, populate_existing=True)


def put_failure(session: Session, project: str, ledger: int, message: str) -> None:
    values = {"ledger": ledger, "message": message, "failed_at": now()}
    statement = insert(RollbackFailure).values(project_id=project, **values)
    session.execute(statement.on_conflict_do_update(index_elements=[RollbackFailure.project_id], set_=values))
