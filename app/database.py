"""Postgres: the declarative base, the engine, and `transaction()`, the only place that commits."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, cast
from uuid import UUID

import adbc_driver_postgresql.dbapi
import pyarrow as pa
import uuid6
from psycopg import sql
from sqlalchemy import URL, DateTime, Engine, MetaData, QueuePool, create_engine, event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.exc import DisconnectionError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

from app import settings
from app.errors import Unavailable


def new_id() -> UUID:
    """A UUIDv7: it sorts by the time at which it was made."""
    return UUID(int=uuid6.uuid7().int)


def now() -> datetime:
    return datetime.now(UTC)


Id = Annotated[UUID, mapped_column(PG_UUID(as_uuid=True), primary_key=True, default=new_id)]
Time = Annotated[datetime, mapped_column(DateTime(timezone=True), default=now)]
Document = Annotated[dict[str, Any], mapped_column(JSONB)]


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


@cache
def engine() -> Engine:
    return create_engine(
        settings.current().need_database(),
        pool_size=10,
        max_overflow=30,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5, "application_name": "thumbwheel"},
    )


#: Called after a commit whose session carries messages; `app.outbox` registers its bell here.
after_messages: list[Callable[[], None]] = []


@contextmanager
def transaction() -> Iterator[Session]:
    """A session whose work is committed when the block ends, and undone when it raises.

    Raises `Unavailable` where Postgres does not answer.
    """
    try:
        with Session(engine(), expire_on_commit=False) as session, session.begin():
            yield session
    except OperationalError as error:
        raise _away() from error
    if session.info.get("has_messages"):
        for call in after_messages:
            call()


def _away() -> Unavailable:
    return Unavailable(
        "Postgres does not answer: try again in a moment; `thumbwheel doctor` says what is wrong.",
        code="database_unavailable",
    )


#: One query at a time over whole tables: compiling it costs more than it saves, and its hash tables should fit.
ARROW_SETTINGS = ("jit = off", "work_mem = '128MB'")


def arrow(session: Session, query: str) -> Iterator[pa.RecordBatch]:
    """What `query` finds, as Arrow, streamed: several times as fast as rows, and in little memory.

    Over a connection of its own, which sees what is committed: for rows that no longer change. `query` has its values
    in it (see `literal`).
    """
    pool = _arrow_connections(session.get_bind().engine.url)
    try:
        with closing(pool.connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(query)
            yield from _ahead(cast(Any, cursor).fetch_record_batch())
    except (adbc_driver_postgresql.dbapi.OperationalError, OSError) as error:  # OSError: in the middle of rows
        raise _away() from error


@cache
def _arrow_connections(url: URL) -> QueuePool:
    """Kept, as making one takes longer than a small query."""
    libpq = url.set(drivername="postgresql").render_as_string(hide_password=False)
    pool = QueuePool(lambda: adbc_driver_postgresql.dbapi.connect(libpq), pool_size=2, max_overflow=8, recycle=300)
    event.listen(pool, "connect", _set_for_arrow)
    event.listen(pool, "checkout", _still_there)
    return pool


def _set_for_arrow(connection: Any, _: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET application_name = 'thumbwheel arrow'")
        for setting in ARROW_SETTINGS:
            cursor.execute(f"SET {setting}")
    connection.commit()


def _still_there(connection: Any, _: object, __: object) -> None:
    """Postgres may have been started anew since."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
    except adbc_driver_postgresql.dbapi.Error as error:
        raise DisconnectionError from error


def _ahead(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same, the next one fetched by a thread while one is worked on."""
    coming = iter(batches)
    with ThreadPoolExecutor(1, "arrow") as thread:
        following = thread.submit(next, coming, None)
        while (batch := following.result()) is not None:
            following = thread.submit(next, coming, None)
            yield batch


def literal(value: str | int | Sequence[str] | Sequence[int]) -> str:
    """The value as SQL has it; of a sequence, an array."""
    return sql.Literal(value if isinstance(value, str | int) else list(value)).as_string(None)
