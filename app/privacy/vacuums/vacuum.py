"""Vacuums single tables, outside of transactions, so that erased text leaves their files.

Postgres marks a deleted row and later reuses its space, without overwriting it at once. A small table is therefore
rewritten into a new file (`VACUUM FULL`), for which writers wait a moment. A large table is only vacuumed: its rows are
gone, and old bytes stay in free space of its pages until new rows take it. Either way the table is analyzed, since
statistics also have values of rows.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from app import postgres_errors, settings
from app.database import CONNECT_SECONDS
from app.errors import Refused, Unavailable

#: Tables up to this size, indexes included, are rewritten: that takes about a second.
REWRITTEN_BYTES = 64 << 20
#: Writers wait no longer than the sum of both while a table is rewritten.
LOCK_SECONDS, REWRITE_SECONDS = 1, 5
#: A busy table is rewritten at a later attempt; after this many attempts it is only vacuumed.
MOST_REWRITES = 3
#: Time for a plain vacuum. It doubles with each attempt that was too short.
SHORTEST_SECONDS, LONGEST_SECONDS = 60, 3600
#: Advisory lock of the process that vacuums: any number that nothing else uses.
ALONE = 0x7477_7663
#: The processes that may still read rows which this or an earlier transaction deleted. In a restored database the
#: number of the transaction may be in the future.
_OLDER_READERS = """
    WITH reader AS (
        SELECT 'process ' || pid AS name, unnest(ARRAY[backend_xmin, backend_xid]) AS xid FROM pg_stat_activity
        WHERE pid <> pg_backend_pid() AND coalesce(datname, current_database()) = current_database()
        UNION ALL
        SELECT 'prepared transaction ' || gid, transaction FROM pg_prepared_xacts WHERE database = current_database()
        UNION ALL
        SELECT 'replication slot ' || slot_name, xmin FROM pg_replication_slots
    )
    SELECT DISTINCT name FROM reader, CAST(%s AS xid8) AS last
    WHERE xid IS NOT NULL AND age(xid) >= age(last::xid) AND last < pg_snapshot_xmax(pg_current_snapshot())
    ORDER BY name LIMIT 5
"""


@contextmanager
def alone() -> Iterator[psycopg.Connection | None]:
    """Yields a connection outside of transactions, or None while another process vacuums.

    Raises `Unavailable` if Postgres does not answer.
    """
    with _passing():
        connection = psycopg.connect(
            settings.current().need_libpq_database(),
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            application_name="thumbwheel vacuum",
        )
    with connection:
        free = connection.execute("SELECT pg_try_advisory_lock(%s)", [ALONE]).fetchone()
        yield connection if free == (True,) else None


def vacuum(connection: psycopg.Connection, table: str, last_xid: int, *, attempts: int = 0) -> bool | None:
    """Vacuums a table in which transactions up to `last_xid` deleted rows.

    Returns whether it was rewritten, None if the table no longer exists.

    attempts  number of failed attempts

    Raises `Unavailable` if the table is busy or other transactions may still read such rows, and `Refused` if the
    service may not vacuum the table.
    """
    with _passing():
        _require_no_older_reader(connection, last_xid)
        row = connection.execute("SELECT pg_total_relation_size(to_regclass(%s))", [table]).fetchone()
        assert row is not None
        size: int | None = row[0]
        if size is None:
            return None  # a dropped month of the log
        connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
        if size <= REWRITTEN_BYTES and attempts < MOST_REWRITES:
            _run(connection, sql.SQL("VACUUM (FULL, ANALYZE) {}"), table, REWRITE_SECONDS)
            return True
        _run(
            connection,
            sql.SQL("VACUUM (ANALYZE) {}"),
            table,
            min(SHORTEST_SECONDS << min(attempts, 10), LONGEST_SECONDS),
        )
        return False


def _require_no_older_reader(connection: psycopg.Connection, last_xid: int) -> None:
    readers = [name for (name,) in connection.execute(_OLDER_READERS, [str(last_xid)])]
    if readers:
        raise Unavailable(
            "Tables are not vacuumed while transactions are open that began before the erasure's end "
            f"({', '.join(readers)}): wait for them, or end them.",
            code="older_transactions",
        )


def _run(connection: psycopg.Connection, statement: sql.SQL, table: str, seconds: int) -> None:
    """Runs a statement. Postgres only warns if it skips a table, so a warning is raised as `Refused`."""
    warnings: list[str] = []

    def keep(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            warnings.append(diagnostic.message_primary or "")

    connection.add_notice_handler(keep)
    connection.execute(f"SET statement_timeout = '{seconds}s'")
    connection.execute(statement.format(sql.Identifier(table)))
    connection.remove_notice_handler(keep)
    if warnings:
        raise Refused(
            f"Postgres does not vacuum: {'; '.join(warnings)}. The service's role has to own the tables.",
            code="not_vacuumed",
        )


@contextmanager
def _passing() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        passing = postgres_errors.passing(error)
        if passing is None and error.sqlstate is None and isinstance(error, psycopg.OperationalError):
            passing = postgres_errors.away()  # the connection failed or broke
        if passing is None:
            raise
        raise passing from error
