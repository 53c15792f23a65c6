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
from sqlalchemy.pool import QueuePool

from app import postgres_errors, settings


def new_id() -> UUID:
    """Returns a new UUIDv7, which sorts by the time of its creation."""
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
    """The purposes of connections. Each has a pool of its own, so that none waits for the work of another.

    sessions           the number of connections; 0: the rest of the setting `database_connections`
    arrow              the number of additional connections for whole tables as Arrow
    statement_seconds  the longest duration of a statement; None: unlimited
    """

    def __init__(self, sessions: int, arrow: int, statement_seconds: float | None) -> None:
        self.sessions = sessions
        self.arrow = arrow
        self.statement_seconds = statement_seconds

    #: Workers, the beat and the command line. In the API only the outbox uses it, with one connection.
    WORK = (15, 10, None)
    REQUESTS = (0, 2, 20)
    #: Previews, explanations and other requests that read a whole log.
    WHOLE_LOG = (2, 2, 120)
    #: Keys of requests that send feedback, and the current release.
    HOT = (2, 0, 5)
    STREAMS = (1, 0, 10)
    #: Figures of all projects for /metrics.
    METRICS = (1, 0, 8)
    PROBES = (1, 0, 0.8)


#: Connections of an API process other than those of `Purpose.REQUESTS`: see docs/decisions/admission.md.
INTAKE, OUTBOX, KEY_CHANGES = 2, 1, 1
RESERVED = (
    INTAKE + OUTBOX + KEY_CHANGES + sum(each.sessions + each.arrow for each in Purpose if each is not Purpose.WORK)
)
#: Time-outs for a new connection, and for one of the pool.
CONNECT_SECONDS, POOL_SECONDS = 5, 5
#: The longest time that a statement of a request waits for a lock.
LOCK_SECONDS = 10
#: Time after the time-out of a statement until the connection is given up because there is no answer.
ANSWER_SECONDS = 5
#: The longest time that a transaction may be idle, as while files are copied. The locks of a frozen process end then.
IDLE_SECONDS = 900


def request_connections() -> int:
    """Returns the number of requests that may hold a connection at the same time."""
    return settings.current().database_connections - RESERVED


_engines: list[tuple[Purpose, Engine]] = []


@cache
def _engine(purpose: Purpose) -> Engine:
    probing = purpose is Purpose.PROBES
    created = create_engine(
        settings.current().need_database(),
        pool_size=purpose.sessions or request_connections(),
        max_overflow=0,
        pool_timeout=1 if probing else POOL_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,  # they are texts of users, which no log may contain
        connect_args={
            "connect_timeout": 1 if probing else CONNECT_SECONDS,
            "application_name": f"thumbwheel {purpose.name.lower().replace('_', ' ')}",
            # A host that disappears silently is noticed within half a minute.
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        },
    )
    postgres_errors.hide_values_of(created)
    limits = f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'"
    if purpose.statement_seconds is not None:
        seconds = purpose.statement_seconds + ANSWER_SECONDS
        event.listen(created, "do_connect", lambda _, __, args, options: _connect(args, options, seconds))
        limits += (
            f"; SET statement_timeout = {purpose.statement_seconds * 1000:.0f}"
            f"; SET lock_timeout = {min(LOCK_SECONDS, purpose.statement_seconds) * 1000:.0f}"
        )
    event.listen(created, "connect", lambda connection, _: _set_limits(connection, limits))
    _engines.append((purpose, created))
    return created


class _Connection(psycopg.Connection[Any]):
    """A connection that gives up on a server that does not answer although its machine does, as when it is frozen. The
    time-outs of Postgres have no effect then, and a thread would wait for ever.
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


def _connect(args: list[Any], options: dict[str, Any], seconds: float) -> _Connection:
    connection = _Connection.connect(*args, **options)
    connection.answer_seconds = seconds
    return connection


def _set_limits(connection: Any, limits: str) -> None:
    connection.autocommit = True
    connection.execute(limits)
    connection.autocommit = False


def engine(purpose: Purpose = Purpose.WORK) -> Engine:
    """Returns the engine of a purpose, which opens connections when they are needed."""
    return _engine(purpose)


def connections_in_use() -> dict[Purpose, tuple[int, int]]:
    """Returns, by purpose of an API process, the connections that are in use now, and the most that may be."""
    used = dict.fromkeys((purpose for purpose in Purpose if purpose is not Purpose.WORK), 0)
    for purpose, each in _engines:
        if purpose in used and isinstance(each.pool, QueuePool):
            used[purpose] += each.pool.checkedout()
    return {purpose: (number, purpose.sessions or request_connections()) for purpose, number in used.items()}


def forget_connections() -> None:
    """Closes all unused connections. New ones are opened with the current settings."""
    while _engines:
        _engines.pop()[1].dispose()
    _engine.cache_clear()


def end_when_idle(session: Session, seconds: float) -> None:
    """Makes Postgres end this transaction and its connection after `seconds` without a statement. Otherwise a frozen
    process would keep locks that others wait for.
    """
    session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {seconds * 1000:.0f}"))


def is_any_of(column: InstrumentedAttribute[Any], values: Iterable[Any]) -> ColumnElement[bool]:
    """Returns `column = ANY(values)`, which has one parameter for any number of values. `IN` has one for each, and
    Postgres accepts at most 65,535.
    """
    return column == any_(sql_cast(list(values), ARRAY(column.type)))


@contextmanager
def transaction(purpose: Purpose = Purpose.WORK, *, read_only: bool = False) -> Iterator[Session]:
    """Yields a session that is committed when the block ends, and rolled back when it raises.

    read_only  makes Postgres refuse every write and every lock on rows

    Raises `Unavailable` if Postgres does not answer, has no free connection, accepts no writes, or is too busy: see
    `app.postgres_errors`. An error that would occur again is raised unchanged.
    """
    try:
        connections = engine(purpose)
        if read_only:
            connections = connections.execution_options(postgresql_readonly=True)
        with Session(connections, expire_on_commit=False, info={"purpose": purpose}) as session, session.begin():
            yield session
    except (DBAPIError, PoolTimeout) as error:
        refused_write = isinstance(getattr(error, "orig", None), psycopg.errors.ReadOnlySqlTransaction)
        unavailable = None if read_only and refused_write else postgres_errors.passing(error)
        if unavailable is None:
            raise
        raise unavailable from error
