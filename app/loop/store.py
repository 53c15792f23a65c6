"""SQL of trigger decisions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from app.loop.tables import Tick, TriggerDecision


def newest(session: Session, project: str) -> TriggerDecision | None:
    query = select(TriggerDecision).where(TriggerDecision.project_id == project)
    return session.scalars(query.order_by(TriggerDecision.id.desc()).limit(1)).one_or_none()


def add(session: Session, values: dict[str, Any]) -> None:
    session.execute(insert(TriggerDecision).values(**values))


def newest_first(session: Session, project: str, before: int | None, limit: int) -> Sequence[TriggerDecision]:
    query = select(TriggerDecision).where(TriggerDecision.project_id == project)
    if before is not None:
        query = query.where(TriggerDecision.id < before)
    return session.scalars(query.order_by(TriggerDecision.id.desc()).limit(limit)).all()


def record_tick(session: Session) -> None:
    values = {"ended_at": func.clock_timestamp()}
    statement = upsert(Tick).values(id=1, **values).on_conflict_do_update(index_elements=[Tick.id], set_=values)
    session.execute(statement)


def last_tick(session: Session) -> datetime | None:
    return session.scalars(select(Tick.ended_at)).one_or_none()
