"""The errors of Postgres, for psycopg, asyncpg and ADBC: which pass by themselves, what callers are answered, and what
a log may hold of them.

Postgres quotes values of rows in the lines DETAIL and CONTEXT ("Key (event_id)=(…) already exists"), and in the message
itself where it cannot read a value. Logs outlive erasures, so nothing of this is logged.
"""

import adbc_driver_manager
import asyncpg
import psycopg
from adbc_driver_manager import AdbcStatusCode
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import Unavailable

#: SQLSTATEs of a server that is away, starts, stops, or has no connection to spare.
AWAY = {"57P01", "57P02", "57P03", "57P04", "57P05", "53300", "25P03"}
CONNECTION_CLASS = "08"
#: A standby after a failover, or a server whose administrator keeps writes away.
READ_ONLY = {"25006"}
#: It ran too long, waited too long for a lock, or was in somebody else's way.
BUSY = {"57014", "55P03", "40P01", "40001"}
#: No disk, no memory: class 53 without the connections.
FULL_CLASS = "53"
#: "Data exception", whose messages quote the data, and a syntax error, whose message quotes the statement.
DATA_CLASS, SYNTAX = "22", "42601"
DRIVERS = (psycopg.Error, asyncpg.PostgresError, asyncpg.InterfaceError, adbc_driver_manager.Error)


def passing(error: BaseException) -> Unavailable | None:
    """Returns the answer to an error that will pass; None for one that would come again, or is not of Postgres."""
    if isinstance(error, PoolTimeout):
        return busy()
    state = _sqlstate(error)
    if state is None:
        return away() if _lost(error) else None
    if state in READ_ONLY:
        return Unavailable(
            "Postgres takes no writes at the moment: it is a standby, or was set to read only. Try again in a moment.",
            code="database_read_only",
        )
    if state in BUSY:
        return Unavailable(
            "Postgres did not finish this in time, as others keep it busy: try again in a moment.", code="database_busy"
        )
    if state in AWAY or state.startswith(CONNECTION_CLASS):
        return away()
    if state.startswith(FULL_CLASS):
        return Unavailable(
            "Postgres has no room left on its disk, or no memory: an operator has to make some.", code="database_full"
        )
    return None


def away() -> Unavailable:
    return Unavailable(
        "Postgres does not answer: try again in a moment; `thumbwheel doctor` says what is wrong.",
        code="database_unavailable",
    )


def busy() -> Unavailable:
    return Unavailable("More requests came than this server takes at once: try again in a moment.", code="busy")


def without_values(error: BaseException) -> str:
    """Returns class, SQLSTATE and message of an error, without any value of a row; of other errors the class alone."""
    origin = (error.orig or error) if isinstance(error, DBAPIError) else error
    name = type(origin).__name__
    return f"{name}: {_message(origin)}" if isinstance(origin, DRIVERS) else name


def hide_values(error: BaseException) -> None:
    """Removes values of rows from what an error says, and from what its causes say: for logs and tracebacks."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        left += [each.__cause__, each.__context__]
        if isinstance(each, DBAPIError):
            left.append(each.orig)
            each.args = (f"({type(each.orig).__name__}) {_message(each.orig or each)}",)
        elif isinstance(each, DRIVERS):
            each.args = (_message(each),)
            if isinstance(each, asyncpg.PostgresError):
                each.detail = None
            if isinstance(each, asyncpg.DataError):
                each.__cause__, each.__suppress_context__ = None, True  # what could not read the value, and quotes it


def hide_values_of(engine: Engine) -> None:
    """Removes values of rows from every error that the engine raises."""
    event.listen(engine, "handle_error", _hide)


def _hide(context: ExceptionContext) -> None:
    hide_values(context.sqlalchemy_exception or context.original_exception)


def _message(error: BaseException) -> str:
    """Returns the SQLSTATE and the first line of an error's message, unless that may quote data.

    A message that was made here stays as it is.
    """
    state = _sqlstate(error) or ""
    prefix = f"SQLSTATE {state}, " if state else ""
    quotes = isinstance(error, psycopg.DataError | asyncpg.DataError | adbc_driver_manager.Error)
    if quotes or state.startswith(DATA_CLASS) or state == SYNTAX:
        return f"{prefix}its message may quote data and is left out"
    first = str(error.args[0]).partition("\n")[0] if error.args else ""
    return prefix + first.removeprefix(prefix)


def _sqlstate(error: BaseException) -> str | None:
    origin = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(origin, "sqlstate", None)  # of psycopg, asyncpg and ADBC alike
    return state or None


def _lost(error: BaseException) -> bool:
    """Whether the connection broke, or could not be made. psycopg uses OperationalError for much else, too."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (error.statement is None and error.orig is not None and _refused(error))
    if isinstance(error, adbc_driver_manager.Error):
        return error.status_code in {AdbcStatusCode.IO, AdbcStatusCode.TIMEOUT, AdbcStatusCode.CANCELLED}
    # asyncpg: its InternalClientError is what a connection says that breaks in the middle of a message.
    return isinstance(error, OSError | TimeoutError | asyncpg.InterfaceError | asyncpg.InternalClientError)


def _refused(error: DBAPIError) -> bool:
    return type(error.orig).__name__ in {"OperationalError", "ConnectionTimeout", "ConnectionFailure"}
