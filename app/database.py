"""Postgres: the declarative base, the connections, and `transaction()`, the only place that commits."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum, unique
from functools import cache
from typing import Annotated, Any
from uuid import UUID

import psycopg
import uuid6
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    Engine,
    MetaData,
    any_,
    create_engine,
    event,
    text,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Session, mapped_column

from app import postgres_errors, settings


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
