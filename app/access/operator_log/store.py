"""SQL of the operator log."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app.access.operator_log.tables import OperatorAction


def insert_action(session: Session, values: dict[str, Any]) -> None:
    session.execute(insert(OperatorAction).values(**values))


def newest_first(
    session: Session, project: str | None, operation: str | None, before: UUID | None, limit: int
) -> Sequence[OperatorAction]:
    query = select(OperatorAction).order_by(OperatorAction.id.desc()).limit(limit)
    if project is not None:
        query = query.where(OperatorAction.project == project)
    if operation is not None:
        query = query.where(OperatorAction.operation == operation)
    if before is not None:
        query = query.where(OperatorAction.id < before)
    return session.scalars(query).all()
