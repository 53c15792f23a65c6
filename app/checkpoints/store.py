"""SQL of checkpoints."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import column, insert, select, table
from sqlalchemy.orm import Session

from app.checkpoints.tables import Checkpoint
from app.database import is_any_of

#: The ledger belongs to app.releases, which may import this folder but not the reverse; it is read for what is live.
RELEASES = table("releases", column("project_id"), column("number"), column("checkpoint_id"))


def of_id(session: Session, project: str, checkpoint_id: UUID) -> Checkpoint | None:
    return session.scalars(
        select(Checkpoint).where(Checkpoint.id == checkpoint_id, Checkpoint.project_id == project)
    ).one_or_none()


def of_ids(session: Session, project: str, checkpoint_ids: Iterable[UUID]) -> Sequence[Checkpoint]:
    query = select(Checkpoint).where(Checkpoint.project_id == project, is_any_of(Checkpoint.id, checkpoint_ids))
    return session.scalars(query).all()


def base(session: Session, project: str, base_model: str) -> Checkpoint | None:
    """Returns the row of the base model in the folder `base_model`."""
    of_project = Checkpoint.project_id == project, Checkpoint.kind == "base"
    return session.scalars(select(Checkpoint).where(*of_project, Checkpoint.base_model == base_model)).one_or_none()


def insert_checkpoint(session: Session, values: dict[str, Any]) -> Checkpoint:
    return session.scalars(insert(Checkpoint).values(**values).returning(Checkpoint)).one()


def newest_first(session: Session, project: str, before: UUID | None, limit: int) -> Sequence[Checkpoint]:
    query = select(Checkpoint).where(Checkpoint.project_id == project).order_by(Checkpoint.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Checkpoint.id < before)
    return session.scalars(query).all()


def live_id(session: Session, project: str) -> UUID | None:
    """Returns the checkpoint of the project's newest release."""
    query = select(RELEASES.c.checkpoint_id).where(RELEASES.c.project_id == project)
    return session.execute(query.order_by(RELEASES.c.number.desc()).limit(1)).scalar_one_or_none()
