"""Empties the servers between two tests over connections that stay open."""

import psycopg
import redis

#: The tables: name, whether it has grown, whether a trigger refuses DELETE.
TABLES = """
SELECT oid::regclass::text, pg_table_size(oid) > 256 * 1024,
       EXISTS (SELECT FROM pg_trigger WHERE tgrelid = pg_class.oid AND tgtype & 8 > 0 AND NOT tgisinternal)
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
"""
SEQUENCES = """
SELECT setval(format('%I.%I', schemaname, sequencename), start_value, false)
FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL
"""


class Emptying:
    """Empties every table, restarts every sequence and empties Valkey.

    DELETE empties a small table, as TRUNCATE would create new files for it, its indexes and every table that refers to
    it. Once dead rows have made a table large, it is truncated. One statement deletes from all tables, and foreign keys
    are checked at its end. Tables whose trigger refuses DELETE are truncated.
    """

    def __init__(self, database_url: str, redis_url: str) -> None:
        self._database_url = database_url
        self._connection: psycopg.Connection | None = None
        self._valkey = redis.Redis.from_url(redis_url)

    def __call__(self) -> None:
        try:
            self._empty_tables()
        except psycopg.OperationalError:  # the test restarted Postgres, or ended every connection
            self._disconnect()
            self._empty_tables()
        self._valkey.flushall()

    def close(self) -> None:
        self._disconnect()
        self._valkey.close()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _empty_tables(self) -> None:
        if self._connection is None:
            self._connection = psycopg.connect(self._database_url, autocommit=True)
            self._connection.execute("SET lock_timeout = '10s'")  # a transaction left open by a test fails it
        with self._connection.transaction():
            tables = self._connection.execute(TABLES).fetchall()
            self._connection.execute(f"LOCK {', '.join(name for name, _, _ in tables)} IN ACCESS EXCLUSIVE MODE")
            filled = self._connection.execute(
                f"SELECT {', '.join(f'EXISTS (SELECT FROM {name})' for name, _, _ in tables)}"
            ).fetchone()
            assert filled is not None
            states = list(zip(tables, filled, strict=True))
            truncated = [name for (name, grown, refuses), some in states if grown or (some and refuses)]
            deleted = [name for (name, _, _), some in states if some and name not in truncated]
            if truncated:
                self._connection.execute(f"TRUNCATE {', '.join(truncated)} CASCADE")
            if deleted:
                parts = ", ".join(f"d{at} AS (DELETE FROM {name})" for at, name in enumerate(deleted))
                self._connection.execute(f"WITH {parts} SELECT")
            self._connection.execute(SEQUENCES)
