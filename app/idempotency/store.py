"""SQL of idempotent requests."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from app.idempotency.tables import IdempotencyKey


def try_to_begin(session: Session, name: str) -> bool:
    """Returns whether this transaction got the lock of this name, which it holds until its end."""
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(func.hashtextextended(name, 0)))))


def find(session: Session, project: str, key: str) -> IdempotencyKey | None:
    query = select(IdempotencyKey).where(IdempotencyKey.project_id == project, IdempotencyKey.key == key)
    return session.scalars(query).one_or_none()


def keep(session: Session, values: dict[str, Any]) -> None:
    session.execute(insert(IdempotencyKey).values(**values))


def forget(session: Session, before: datetime) -> None:
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < before))
