"""Many simultaneous requests: all are answered, and probes and events do not wait for them."""

import asyncio
import json
from collections import Counter

import psycopg
import pytest

from app import settings
from tests.hostile.crowd import Connection, _event, crowd
from tests.served import served

CLIENTS = 400
#: Inserts more events than a request reads.
LONG_LOG = """
    INSERT INTO events (project_id, event_id, completion_id, actor, signal, prompt, completion, metadata, position,
                        received_at)
    SELECT 'acme', 'e' || n, 'c' || n, 'user ' || n % 500, '{"kind": "thumbs", "value": "up"}', '"Where is it?"',
           'Answer ' || n, '{}', n, now()
    FROM generate_series(1, 20000) AS n
"""


@pytest.fixture
def server(api):
    with served() as url:
        yield url, api.headers["Authorization"].removeprefix("Bearer ")


async def at_once(url, key, path, *, method="GET", body=b"", clients=CLIENTS):
    """Sends many requests for `path` and returns their statuses, and those of other requests during and after them."""
    headers = f"Authorization: Bearer {key}\r\n"
    connections = [Connection(url, headers) for _ in range(clients)]
    for one in connections:
        await one.connect()
    everybody = asyncio.gather(*(one.request(method, path, body) for one in connections))
    live, ingest = Connection(url, headers), Connection(url, headers)
    beside = [await live.request("GET", "/livez"), await ingest.request("POST", "/v1/feedback?project=acme", _event())]
    statuses = Counter(await everybody)
    after = [await live.request("GET", "/readyz"), await live.request(method, path, body)]
    for one in [*connections, live, ingest]:
        one.close()
    return statuses, beside, after


@pytest.mark.parametrize("path", ["/v1/releases/current?project=acme", "/v1/runs?project=acme"])
def test_a_crowd_is_answered_while_probes_and_events_go_on(server, path):
    statuses, beside, after = asyncio.run(at_once(*server, path))

    assert set(statuses) <= {200, 503}
    assert statuses[200] > 0
    assert beside == [200, 201]
    assert after == [200, 200]


def test_many_previews_of_a_long_log_keep_neither_probes_nor_events_waiting(server):
    with psycopg.connect(settings.current().need_libpq_database()) as connection:
        connection.execute(LONG_LOG)

    path, body = "/v1/label-policies/preview?project=acme", json.dumps({"version": 0, "days": 3650}).encode()
    statuses, beside, after = asyncio.run(at_once(*server, path, method="POST", body=body, clients=45))

    assert set(statuses) == {200, 503}  # two run at a time
    assert beside == [200, 201]
    assert after == [200, 200]


def test_readers_of_the_current_release_are_never_turned_away(server):
    figures = asyncio.run(crowd(*server, "acme", readers=CLIENTS, seconds=2, quiet_seconds=0.1))

    assert figures["hangs"] == figures["errors_503"] == figures["errors_5xx_other"] == 0
    assert figures["reads"] >= CLIENTS
