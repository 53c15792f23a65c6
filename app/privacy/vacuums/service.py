"""Vacuums after erasures: which tables each erasure touched, and one vacuum for all erasures that wait for it."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from app.database import now, transaction
from app.privacy.vacuums import store, vacuum
from app.privacy.vacuums.tables import ErasedTable

#: Many erasures in a row are vacuumed once for all that ended within this time, as writers wait while it goes on.
REST = timedelta(minutes=10)


def touch(session: Session, erasure_id: UUID, tables: Collection[str]) -> None:
    """Notes that an erasure deleted or changed rows of these tables."""
    store.insert_tables(session, erasure_id, tables)


def release(session: Session, erasure_id: UUID) -> None:
    """Lets the tables of an erasure be vacuumed once the caller's transaction, its last one, has committed."""
    store.release(session, erasure_id)


def tables_of(session: Session, erasure_id: UUID) -> Sequence[ErasedTable]:
    """Returns the tables that an erasure touched, by name."""
    return store.of_erasure(session, erasure_id)


def waiting(session: Session) -> Sequence[UUID]:
    """Returns the finished erasures with tables that are not vacuumed yet."""
    return store.waiting_erasures(session)


def postponed_until(session: Session, erasure_id: UUID) -> datetime | None:
    """Returns until when the tables of an erasure wait, as others were vacuumed a moment ago; None: not at all."""
    last = store.last_vacuum(session)
    if last is None or last + REST <= now():
        return None
    begun = any(table.vacuumed_at for table in store.of_erasure(session, erasure_id))
    return None if begun else last + REST


def vacuum_next(erasure_id: UUID, attempts: int) -> bool:
    """Vacuums one table of the erasure, for all finished erasures that touched it; returns whether there was one.

    It waits for nobody: where another process vacuums, nothing is done.

    attempts  how many have failed so far: each has more time, and after a few of them tables are not rewritten any more

    Raises `Unavailable` where others are busy with the table or may still read what was erased, `Refused` where the
    service may not vacuum it.
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
