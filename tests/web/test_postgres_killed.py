"""Postgres is killed and recovers while requests of every kind arrive: they get 503, never 500, and then succeed
again."""

import asyncio
import os
import signal
from collections import Counter

import psycopg
import pytest

from tests.hostile.crowd import Connection, _event
from tests.served import served

PATHS = ["/v1/releases/current", "/v1/runs", "/v1/projects/acme/readiness", "/v1/approvals", "/v1/quarantine"]
KILLS = 3


@pytest.fixture
def server(api):
    with served() as url:
        yield url, api.headers["Authorization"].removeprefix("Bearer ")


async def ask(connection, method, path, body, statuses, until):
    while not until.is_set():
        statuses[await connection.request(method, f"{path}?project=acme", body() if body else b"")] += 1
    connection.close()


async def killed_meanwhile(url, key, database):
    headers = f"Authorization: Bearer {key}\r\n"
    statuses, ended = Counter(), asyncio.Event()
    asking = [
        asyncio.create_task(ask(Connection(url, headers), method, path, body, statuses, ended))
        for method, path, body in [("GET", path, None) for path in PATHS] + [("POST", "/v1/feedback", _event)] * 4
    ]
    for _ in range(KILLS):
        answered = statuses[201]
        async with asyncio.timeout(30):
            while statuses[201] < answered + 20:  # it serves requests
                await asyncio.sleep(0.02)
        with psycopg.connect(database) as connection:
            (victim,) = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'thumbwheel intake' LIMIT 1"
            ).fetchone()
        os.kill(victim, signal.SIGKILL)  # Postgres ends all other processes and recovers from its log
        refused = statuses[503]
        async with asyncio.timeout(30):
            while statuses[503] == refused:
                await asyncio.sleep(0.02)
    answered = statuses[201], statuses[200]
    async with asyncio.timeout(30):
        while not (statuses[201] > answered[0] and statuses[200] > answered[1] + 100):
            await asyncio.sleep(0.02)
    ended.set()
    await asyncio.gather(*asking)
    return statuses


@pytest.mark.trial
# Nothing closes the cursor of a killed connection.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_requests_hear_503_while_postgres_is_away_and_are_served_again(server, database):
    statuses = asyncio.run(killed_meanwhile(*server, database))

    assert set(statuses) == {200, 201, 503}
