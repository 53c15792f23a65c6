"""Postgres: the declarative base, the connections, and `transaction()`, the only place that commits."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from enum import Enum, unique
from functools import cache
from typing import Annotated, Any, cast
from uuid import UUID

import adbc_driver_manager
import adbc_driver_postgresql
import psycopg
import pyarrow as pa
import uuid6
from psycopg import sql
from sqlalchemy import (
    ARRAY,
    URL,
    ColumnElement,
    DateTime,
    Engine,
    MetaData,
    QueuePool,
    any_,
    create_engine,
    event,
    text,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Session, mapped_column

from app import postgres_errors, settings
from app.prefetch import ahead


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


@unique
class Purpose(Enum):
    """The purposes of connections. Each has its own, so that none waits for another one's work.

    sessions           how many there are; 0: what the others leave of the setting `database_connections`
    arrow              how many more carry whole tables as Arrow
    statement_seconds  for how long one statement may run; None: as long as it takes
    """

    def __init__(self, sessions: int, arrow: int, statement_seconds: float | None) -> None:
        self.sessions = sessions
        self.arrow = arrow
        self.statement_seconds = statement_seconds

    #: Workers, the beat and the command line; in the API the outbox alone, on one connection.
    WORK = (15, 10, None)
    REQUESTS = (0, 2, 20)
    #: Previews, explanations and whatever else reads a whole log for a request.
    WHOLE_LOG = (2, 2, 120)
    #: Keys of requests that bring feedback, and what is live.
    HOT = (2, 0, 5)
    STREAMS = (1, 0, 10)
    PROBES = (1, 0, 0.8)


#: Connections of an API process besides those for `Purpose.REQUESTS`: see docs/decisions/admission.md.
INTAKE, OUTBOX = 2, 1
RESERVED = INTAKE + OUTBOX + sum(each.sessions + each.arrow for each in Purpose if each is not Purpose.WORK)
#: For so long a connection is waited for: one that is being made, or one of the pool.
CONNECT_SECONDS, POOL_SECONDS = 5, 5
#: For so long a statement of a request waits for somebody else's lock.
LOCK_SECONDS = 10
#: So long after the time-out of a statement its answer has to be there, else the connection is given up.
ANSWER_SECONDS = 5
#: So long a transaction may do something else than talk to Postgres, as bring files; a frozen process's locks end then.
IDLE_SECONDS = 900


def request_connections() -> int:
    """How many requests may hold a connection at the same time."""
    return settings.current().database_connections - RESERVED


_made: list[Engine] = []


@cache
def _engine(purpose: Purpose) -> Engine:
    probing = purpose is Purpose.PROBES
    made = create_engine(
        settings.current().need_database(),
        pool_size=purpose.sessions or request_connections(),
        max_overflow=0,
        pool_timeout=1 if probing else POOL_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,  # they are what people wrote: no log holds them
        connect_args={
            "connect_timeout": 1 if probing else CONNECT_SECONDS,
            "application_name": f"thumbwheel {purpose.name.lower().replace('_', ' ')}",
            # A host that is gone without a word is noticed within half a minute.
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        },
    )
    postgres_errors.hide_values_of(made)
    limits = f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'"
    if purpose.statement_seconds is not None:
        seconds = purpose.statement_seconds + ANSWER_SECONDS
        event.listen(made, "do_connect", lambda _, __, args, options: _connected(args, options, seconds))
        limits += (
            f"; SET statement_timeout = {purpose.statement_seconds * 1000:.0f}"
            f"; SET lock_timeout = {min(LOCK_SECONDS, purpose.statement_seconds) * 1000:.0f}"
        )
    event.listen(made, "connect", lambda connection, _: _limit(connection, limits))
    _made.append(made)
    return made


class _Connection(psycopg.Connection[Any]):
    """Gives up a server that does not answer although its machine does, as a frozen one: a time-out of Postgres itself
    would hold a thread for ever there.
    """

    answer_seconds: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, timeout or self.answer_seconds)
        except psycopg.errors._WaitTimeout as error:
            if timeout is not None:
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(f"Postgres did not answer within {self.answer_seconds:g} s") from error


def _connected(args: list[Any], options: dict[str, Any], seconds: float) -> _Connection:
    connection = _Connection.connect(*args, **options)
    connection.answer_seconds = seconds
    return connection


def _limit(connection: Any, limits: str) -> None:
    connection.autocommit = True
    connection.execute(limits)
    connection.autocommit = False


def engine(purpose: Purpose = Purpose.WORK) -> Engine:
    """The connections for a purpose, made when they are needed."""
    return _engine(purpose)


def forget_connections() -> None:
    """Closes every connection that nobody holds, and has the settings looked at again for new ones."""
    while _made:
        _made.pop().dispose()
    _engine.cache_clear()


def end_when_idle(session: Session, seconds: float) -> None:
    """Has Postgres end this transaction, and its connection, once it hears nothing for `seconds`: for locks that others
    wait for, which a frozen process would hold.
    """
    session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {seconds * 1000:.0f}"))


def is_any_of(column: InstrumentedAttribute[Any], values: Iterable[Any]) -> ColumnElement[bool]:
    """Returns `column = ANY(values)`: one parameter however many values there are, where `IN` has one for each and
    Postgres takes 65,535.
    """
    return column == any_(sql_cast(list(values), ARRAY(column.type)))


@contextmanager
def transaction(purpose: Purpose = Purpose.WORK, *, read_only: bool = False) -> Iterator[Session]:
    """Yields a session whose work is committed when the block ends, and undone when it raises.

    read_only  Postgres refuses every write and every lock on rows

    Raises `Unavailable` where Postgres does not answer, has no connection to spare, takes no writes, or is too busy:
    see `app.postgres_errors`. An error that would come again is raised as it is.
    """
    try:
        connections = engine(purpose)
        if read_only:
            connections = connections.execution_options(postgresql_readonly=True)
        with Session(connections, expire_on_commit=False, info={"purpose": purpose}) as session, session.begin():
            yield session
    except (DBAPIError, PoolTimeout) as error:
        refused_write = isinstance(getattr(error, "orig", None), psycopg.errors.ReadOnlySqlTransaction)
        passing = None if read_only and refused_write else postgres_errors.passing(error)
        if passing is None:
            raise
        raise passing from error


#: One query at a time over whole tables: compiling it costs more than it saves, and its hash tables should fit.
ARROW_SETTINGS = ("jit = off", "work_mem = '128MB'")

#: Bytes of one batch, of which a few are in memory at a time.
ARROW_BATCH = 2 << 20


def arrow(session: Session, query: str) -> Iterator[pa.RecordBatch]:
    """What `query` finds, as Arrow, streamed: several times as fast as rows, and in little memory.

    Over a connection of its own, which sees what is committed: for rows that no longer change. `query` has its values
    in it (see `literal`).
    """
    pool = _arrow_connections(session.get_bind().engine.url, session.info.get("purpose", Purpose.WORK))
    try:
        with closing(pool.connect()) as connection, connection.rows(query) as batches:
            yield from ahead(batches)
    except (adbc_driver_manager.Error, OSError, PoolTimeout) as error:  # OSError: in the middle of rows
        passing = postgres_errors.passing(error)
        if passing is None:
            postgres_errors.hide_values(error)
            raise
        raise passing from None  # the driver's message has the whole query in it, with its values


class _ArrowConnection:
    """Through the driver itself: its DB-API half loads pyarrow.dataset, and pandas with it."""

    def __init__(self, uri: str, statement_seconds: float | None) -> None:
        self._database = adbc_driver_postgresql.connect(uri)
        self._connection = adbc_driver_manager.AdbcConnection(self._database)
        timeout = f"statement_timeout = '{statement_seconds or 0:g}s'"
        for setting in ("application_name = 'thumbwheel arrow'", timeout, *ARROW_SETTINGS):
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
def _arrow_connections(url: URL, purpose: Purpose) -> QueuePool:
    """Kept, as making one takes longer than a small query."""
    uri = url.set(drivername="postgresql").render_as_string(hide_password=False)
    # Each statement is a transaction of its own: there is nothing to roll back.
    pool = QueuePool(
        lambda: cast(Any, _ArrowConnection(uri, purpose.statement_seconds)),
        pool_size=min(purpose.arrow, 2),
        max_overflow=max(purpose.arrow - 2, 0),
        timeout=POOL_SECONDS,
        recycle=300,
        reset_on_return=None,
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
