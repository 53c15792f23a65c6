"""SQL of tables that have to be vacuumed."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database import is_any_of
from app.privacy.vacuums.tables import ErasedTable


class Waiting(NamedTuple):
    """A table to be vacuumed, with the erasures that touched it and their last transaction."""

    table: str
    erasure_ids: list[UUID]
    last_xid: int


_RELEASE = text("""
    UPDATE erased_tables SET last_xid = CAST(CAST(pg_current_xact_id() AS text) AS bigint)
    WHERE erasure_id = :erasure
""")

_NEXT = text("""
    SELECT table_name, array_agg(erasure_id), max(last_xid) FROM erased_tables
    WHERE vacuumed_at IS NULL AND last_xid IS NOT NULL
    GROUP BY table_name HAVING bool_or(erasure_id = :erasure)
    ORDER BY table_name LIMIT 1
""")


def insert_tables(session: Session, erasure_id: UUID, tables: Collection[str]) -> None:
    if tables:
        rows = [{"erasure_id": erasure_id, "table_name": table} for table in sorted(set(tables))]
        session.execute(insert(ErasedTable).values(rows).on_conflict_do_nothing())


def release(session: Session, erasure_id: UUID) -> None:
    session.execute(_RELEASE, {"erasure": erasure_id})


def of_erasure(session: Session, erasure_id: UUID) -> Sequence[ErasedTable]:
    query = select(ErasedTable).where(ErasedTable.erasure_id == erasure_id)
    return session.scalars(query.order_by(ErasedTable.table_name)).all()


def waiting_erasures(session: Session) -> Sequence[UUID]:
    waiting = ErasedTable.vacuumed_at.is_(None) & ErasedTable.last_xid.is_not(None)
    return session.scalars(select(ErasedTable.erasure_id).where(waiting).distinct()).all()


def last_vacuum(session: Session) -> datetime | None:
    return session.scalar(select(func.max(ErasedTable.vacuumed_at)))


def next_table(session: Session, erasure_id: UUID) -> Waiting | None:
    """Returns the next table of this erasure, with all finished erasures that touched it."""
    row = session.execute(_NEXT, {"erasure": erasure_id}).one_or_none()
    return None if row is None else Waiting(*row)


def set_vacuumed(session: Session, waiting: Waiting, moment: datetime, *, rewritten: bool | None) -> None:
    of_erasures = (ErasedTable.table_name == waiting.table) & is_any_of(ErasedTable.erasure_id, waiting.erasure_ids)
    change = update(ErasedTable).where(of_erasures, ErasedTable.vacuumed_at.is_(None))
    session.execute(change.values(vacuumed_at=moment, rewritten=rewritten))
