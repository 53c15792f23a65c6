"""SQL of projects."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.projects.tables import Project


def insert_once(session: Session, values: dict[str, Any]) -> Project | None:
    """Inserts a project and returns its row; None if the project exists already."""
    statement = insert(Project).values(**values).on_conflict_do_nothing().returning(Project)
    return session.scalars(statement).one_or_none()


def of_id(session: Session, project: str) -> Project | None:
    return session.scalars(select(Project).where(Project.id == project)).one_or_none()


def locked(session: Session, project: str) -> Project | None:
    """Returns the current row, locked until the transaction ends; inserts that refer to it are not blocked."""
    query = select(Project).where(Project.id == project).with_for_update(key_share=True)
    return session.scalars(query, execution_options={"populate_existing": True}).one_or_none()


def locked_unless_held(session: Session, project: str) -> Project | None:
    """Returns the row like `locked`, or None if another transaction holds it."""
    query = select(Project).where(Project.id == project).with_for_update(key_share=True, skip_locked=True)
    return session.scalars(query, execution_options={"populate_existing": True}).one_or_none()


def count_erasure(session: Session, project: str) -> None:
    session.execute(update(Project).where(Project.id == project).values(erasures=Project.erasures + 1))


def erasures(session: Session, project: str) -> int:
    return session.scalars(select(Project.erasures).where(Project.id == project)).one()


def split_key(session: Session, project: str) -> str:
    return session.scalars(select(func.coalesce(Project.split_key, Project.id)).where(Project.id == project)).one()


def by_id(
    session: Session, only: str | None, archived: bool | None, after: str | None, limit: int
) -> Sequence[Project]:
    query = select(Project).order_by(Project.id).limit(limit)
    if archived is not None:
        query = query.where(Project.archived_at.is_not(None) if archived else Project.archived_at.is_(None))
    if only is not None:
        query = query.where(Project.id == only)
    if after is not None:
        query = query.where(Project.id > after)
    return session.scalars(query).all()


def open_ids(session: Session) -> list[str]:
    return list(session.scalars(select(Project.id).where(Project.archived_at.is_(None)).order_by(Project.id)))


def archived_ids(session: Session) -> list[str]:
    return list(session.scalars(select(Project.id).where(Project.archived_at.is_not(None)).order_by(Project.id)))


def base_models(session: Session) -> dict[str, str]:
    """Returns the base model of each project that is not archived."""
    query = select(Project.id, Project.base_model).where(Project.archived_at.is_(None))
    return {row.id: row.base_model for row in session.execute(query.order_by(Project.id))}
