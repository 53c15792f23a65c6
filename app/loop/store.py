"""SQL of trigger decisions."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app.loop.tables import TriggerDecision


def newest(session: Session, project: str) -> TriggerDecision | None:
    asked = select(TriggerDecision).where(TriggerDecision.project_id == project)
    return session.scalars(asked.order_by(TriggerDecision.id.desc()).limit(1)).one_or_none()


def add(session: Session, values: dict[str, Any]) -> None:
    session.execute(insert(TriggerDecision).values(**values))


def newest_first(session: Session, project: str, before: int | None, limit: int) -> Sequence[TriggerDecision]:
    asked = select(TriggerDecision).where(TriggerDecision.project_id == project)
    if before is not None:
        asked = asked.where(TriggerDecision.id < before)
    return session.scalars(asked.order_by(TriggerDecision.id.desc()).limit(limit)).all()
