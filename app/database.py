"""Postgres: the declarative base, the engine, and `transaction()`, the only place that commits."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, cast
from uuid import UUID

import adbc_driver_manager
import adbc_driver_postgresql
import pyarrow as pa
import uuid6
from psycopg import sql
from sqlalchemy import URL, DateTime, Engine, MetaData, QueuePool, create_engine, event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.exc import DisconnectionError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

from app import memory, settings
from app.ahead import ahead
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

#: Bytes of one batch, of which a few are in memory at a time.
ARROW_BATCH = 2 << 20

memory.settle()


def arrow(session: Session, query: str) -> Iterator[pa.RecordBatch]:
    """What `query` finds, as Arrow, streamed: several times as fast as rows, and in little memory.

    Over a connection of its own, which sees what is committed: for rows that no longer change. `query` has its values
    in it (see `literal`).
    """
    pool = _arrow_connections(session.get_bind().engine.url)
    try:
        with closing(pool.connect()) as connection, connection.rows(query) as batches:
            yield from ahead(batches)
    except (adbc_driver_manager.OperationalError, OSError) as error:  # OSError: in the middle of rows
        raise _away() from error


class _ArrowConnection:
    """Through the driver itself: its DB-API half loads pyarrow.dataset, and pandas with it."""

    def __init__(self, uri: str) -> None:
        self._database = adbc_driver_postgresql.connect(uri)
        self._connection = adbc_driver_manager.AdbcConnection(self._database)
        for setting in ("application_name = 'thumbwheel arrow'", *ARROW_SETTINGS):
            self.execute(f"SET {setting}")

    @contextmanager
    def rows(self, query: str) -> Iterator[pa.RecordBatchReader]:
        with adbc_driver_manager.AdbcStatement(self._connection) as statement:
            statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(ARROW_BATCH)})
            statement.set_sql_query(query)
            stream, _ = statement.execute_query()
            with pa.RecordBatchReader.from_stream(stream) as batches:
                yield batches

    def execute(self, command: str) -> None:
        with adbc_driver_manager.AdbcStatement(self._connection) as statement:
            statement.set_sql_query(command)
            statement.execute_update()

    def close(self) -> None:
        self._connection.close()
        self._database.close()


@cache
def _arrow_connections(url: URL) -> QueuePool:
    """Kept, as making one takes longer than a small query."""
    uri = url.set(drivername="postgresql").render_as_string(hide_password=False)
    # Each statement is a transaction of its own: there is nothing to roll back.
    pool = QueuePool(
        lambda: cast(Any, _ArrowConnection(uri)), pool_size=2, max_overflow=8, recycle=300, reset_on_return=None
    )
    event.listen(pool, "checkout", _still_there)
    return pool


def _still_there(connection: _ArrowConnection, _: object, __: object) -> None:
    """Postgres may have been started anew since."""
    try:
        connection.execute("SELECT 1")
    except adbc_driver_manager.Error as error:
        raise DisconnectionError from error


def literal(value: str | int | Sequence[str] | Sequence[int]) -> str:
    """The value as SQL has it; of a sequence, an array."""
    return sql.Literal(value if isinstance(value, str | int) else list(value)).as_string(None)
