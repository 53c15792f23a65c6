"""The errors of Postgres that pass by themselves, and their answers to callers, for psycopg, asyncpg and ADBC."""

import adbc_driver_manager
import asyncpg
from adbc_driver_manager import AdbcStatusCode
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
