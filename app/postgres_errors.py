"""Errors of Postgres from psycopg, asyncpg and ADBC: recognises temporary ones, words the answers to callers, and
removes data from what is logged.

Postgres quotes values of rows in the lines DETAIL and CONTEXT ("Key (event_id)=(…) already exists"), and in the message
itself if it cannot parse a value. Logs outlive erasures, so none of this is logged.
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

#: SQLSTATEs of a server that is unavailable, starting, stopping, or out of connections.
AWAY = {"57P01", "57P02", "57P03", "57P04", "57P05", "53300", "25P03"}
CONNECTION_CLASS = "08"
#: A standby after a failover, or a server that was set to read only.
READ_ONLY = {"25006"}
#: Statement or lock time-out, deadlock, serialization failure.
BUSY = {"57014", "55P03", "40P01", "40001"}
#: Out of disk or memory: class 53 except 53300 (connections).
FULL_CLASS = "53"
#: "Data exception", whose messages quote the data, and a syntax error, whose message quotes the statement.
DATA_CLASS, SYNTAX = "22", "42601"
DRIVERS = (psycopg.Error, asyncpg.PostgresError, asyncpg.InterfaceError, adbc_driver_manager.Error)


def passing(error: BaseException) -> Unavailable | None:
    """Returns the answer to a temporary error; None for a permanent one, or one that is not from Postgres."""
    if isinstance(error, PoolTimeout):
        return busy()
    state = _sqlstate(error)
    if state is None:
        return away() if _lost(error) else None
    if state in READ_ONLY:
        return Unavailable(
            "Postgres accepts no writes now: it is a standby, or was set to read only. Try again in a moment.",
            code="database_read_only",
        )
    if state in BUSY:
        return Unavailable(
            "Postgres did not finish this in time, since it is busy: try again in a moment.", code="database_busy"
        )
    if state in AWAY or state.startswith(CONNECTION_CLASS):
        return away()
    if state.startswith(FULL_CLASS):
        return Unavailable(
            "Postgres has no room left on its disk, or no memory: an operator has to free some.", code="database_full"
        )
    return None


def away() -> Unavailable:
    return Unavailable(
        "Postgres does not answer: try again in a moment; `thumbwheel doctor` finds the cause.",
        code="database_unavailable",
    )


def busy() -> Unavailable:
    return Unavailable("The server is busy: try again in a moment.", code="busy")


def without_values(error: BaseException) -> str:
    """Returns class, SQLSTATE and message of an error of Postgres, without any value of a row; else only the class."""
    origin = (error.orig or error) if isinstance(error, DBAPIError) else error
    name = type(origin).__name__
    return f"{name}: {_message(origin)}" if isinstance(origin, DRIVERS) else name


def hide_values(error: BaseException) -> None:
    """Removes values of rows from the messages of an error and of its causes, for logs and tracebacks."""
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
                each.__cause__, each.__suppress_context__ = None, True  # the encoder's error, which quotes the value


def hide_values_of(engine: Engine) -> None:
    """Removes values of rows from every error that the engine raises."""
    event.listen(engine, "handle_error", _hide)


def _hide(context: ExceptionContext) -> None:
    hide_values(context.sqlalchemy_exception or context.original_exception)


def _message(error: BaseException) -> str:
    """Returns the SQLSTATE and the first line of an error's message, unless that may quote data.

    A message that this function returned before stays as it is.
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
    state = getattr(origin, "sqlstate", None)  # an attribute in psycopg, asyncpg and ADBC
    return state or None


def _lost(error: BaseException) -> bool:
    """Returns whether the connection broke or was refused. psycopg uses OperationalError for many other errors, too."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (error.statement is None and error.orig is not None and _refused(error))
    if isinstance(error, adbc_driver_manager.Error):
        return error.status_code in {AdbcStatusCode.IO, AdbcStatusCode.TIMEOUT, AdbcStatusCode.CANCELLED}
    # asyncpg raises InternalClientError when a connection breaks in the middle of a message.
    return isinstance(error, OSError | TimeoutError | asyncpg.InterfaceError | asyncpg.InternalClientError)


def _refused(error: DBAPIError) -> bool:
    return type(error.orig).__name__ in {"OperationalError", "ConnectionTimeout", "ConnectionFailure"}
