"""Keeps one connection to Postgres for keys: hears of changes at once, and writes when each key was last used.

The announcement of a change is a part of its transaction, so no process misses a committed one while it is connected.
What is cached expires within a second all the same, for the time of a lost connection.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg

from app import postgres_errors
from app.access import key_uses
from app.access.keys import CHANGES_CHANNEL

log = logging.getLogger(__name__)

#: Seconds between two writings of last uses, and between two attempts to connect.
WRITE_SECONDS, RETRY_SECONDS = 30.0, 1.0
CONNECT_SECONDS, COMMAND_SECONDS, CLOSE_SECONDS = 5, 5, 2
#: A locked row is left for the next process or the next time: several write the same keys.
WRITE_LAST_USES = """
WITH uses AS (SELECT * FROM unnest($1::uuid[], $2::timestamptz[]) AS u(id, at)),
held AS (
    SELECT api_keys.id, uses.at FROM api_keys JOIN uses USING (id)
    WHERE last_used_at IS NULL OR last_used_at < uses.at FOR UPDATE OF api_keys SKIP LOCKED
)
UPDATE api_keys SET last_used_at = held.at FROM held WHERE api_keys.id = held.id
"""
SESSION = {"application_name": "thumbwheel keys"}
#: Errors of a server that is away or of a connection that broke.
FAILURES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


@asynccontextmanager
async def listening(database_url: str, forget: Callable[[], None]) -> AsyncIterator[None]:
    """Calls `forget` whenever a key changes in any process, and writes last uses, until the block ends."""
    task = asyncio.create_task(_listen(database_url, forget), name="key changes")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _listen(database_url: str, forget: Callable[[], None]) -> None:
    away = False
    while True:
        try:
            connection = await asyncpg.connect(
                database_url, timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS, server_settings=SESSION
            )
        except FAILURES as error:
            if not away:
                reason = postgres_errors.without_values(error)
                log.warning(
                    "Postgres is away: until it is back, changes of keys are noticed after a second: %s", reason
                )
            away = True
        else:
            away = False
            with suppress(*FAILURES):
                await _hear(connection, forget)
        await asyncio.sleep(RETRY_SECONDS)


async def _hear(connection: asyncpg.Connection, forget: Callable[[], None]) -> None:
    """Listens on the connection until it breaks."""
    broken = asyncio.Event()
    connection.add_termination_listener(lambda _: broken.set())
    try:
        await connection.add_listener(CHANGES_CHANNEL, lambda *_: forget())
        forget()  # what was announced before
        while not broken.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(broken.wait(), WRITE_SECONDS)
            await _write_last_uses(connection)
    finally:
        with suppress(*FAILURES):
            await asyncio.wait_for(_end(connection), CLOSE_SECONDS)
        connection.terminate()


async def _end(connection: asyncpg.Connection) -> None:
    await _write_last_uses(connection)
    await connection.close()


async def _write_last_uses(connection: asyncpg.Connection) -> None:
    uses = key_uses.take()
    await connection.execute(WRITE_LAST_USES, list(uses), list(uses.values()))
