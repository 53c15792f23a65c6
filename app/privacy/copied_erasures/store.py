"""SQL of copied erasures."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import insert as inserted
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import is_any_of
from app.privacy.erasures.tables import Erasure


def known_of(session: Session, project: str, digests: Collection[bytes]) -> set[bytes]:
    """Returns those of these digests of actors of which the project has an erasure."""
    query = select(Erasure.actor_sha256).where(Erasure.project_id == project, is_any_of(Erasure.actor_sha256, digests))
    return set(session.scalars(query))


def insert(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        session.execute(inserted(Erasure), list(rows))
