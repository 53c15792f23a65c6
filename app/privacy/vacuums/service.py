"""Vacuums tables after erasures: records the tables of each erasure, and vacuums once for all waiting erasures."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from app.database import now, transaction
from app.privacy.vacuums import store, vacuum
from app.privacy.vacuums.tables import ErasedTable

#: Tables are vacuumed once for all erasures that end within this time, since writers wait during a vacuum.
REST = timedelta(minutes=10)


def touch(session: Session, erasure_id: UUID, tables: Collection[str]) -> None:
    """Records that an erasure deleted or changed rows of these tables."""
    store.insert_tables(session, erasure_id, tables)


def release(session: Session, erasure_id: UUID) -> None:
    """Releases the tables of an erasure for a vacuum after the commit of the caller's transaction, its last one."""
    store.release(session, erasure_id)


def tables_of(session: Session, erasure_id: UUID) -> Sequence[ErasedTable]:
    """Returns the tables that an erasure touched, by name."""
    return store.of_erasure(session, erasure_id)


def waiting(session: Session) -> Sequence[UUID]:
    """Returns the finished erasures with tables that are not vacuumed yet."""
    return store.waiting_erasures(session)


def postponed_until(session: Session, erasure_id: UUID) -> datetime | None:
    """Returns the time until which the tables of an erasure wait after a recent vacuum, None if they need not."""
    last = store.last_vacuum(session)
    if last is None or last + REST <= now():
        return None
    begun = any(table.vacuumed_at for table in store.of_erasure(session, erasure_id))
    return None if begun else last + REST


def vacuum_next(erasure_id: UUID, attempts: int) -> bool:
    """Vacuums one table of the erasure, for all finished erasures that touched it; returns whether there was one.

    It does not wait: while another process vacuums, it returns False.

    attempts  number of failed attempts: each has more time, and after a few tables are no longer rewritten

    Raises `Unavailable` if the table is busy or other transactions may still read erased rows, `Refused` if the service
    may not vacuum it.
    """
    with vacuum.alone() as connection:
        if connection is None:
            return False
        with transaction() as session:
            table = store.next_table(session, erasure_id)
        if table is None:
            return False
        rewritten = vacuum.vacuum(connection, table.table, table.last_xid, attempts=attempts)
        with transaction() as session:
            store.set_vacuumed(session, table, now(), rewritten=rewritten)
    return True
