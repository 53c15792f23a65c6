"""Whatever is killed while events come in: what was acknowledged is stored, once."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest

from app import services
from app.cli.stack import migrate
from app.services import EmbeddedServer, free_port, tethered, wait_until
from benchmarks.ingest.load import Connection, connect, message

CLIENTS = 64
EVENTS = 8_000
#: Counts of acknowledged events at which a server is killed, in turn the API and Postgres.
KILLS = range(1_200, EVENTS, 1_400)
DEADLINE_SECONDS = 240

pytestmark = [pytest.mark.trial, pytest.mark.timeout(DEADLINE_SECONDS + 60)]


@dataclass
class Machine:
    """An API and a Postgres that can be killed, and come back under the same addresses."""

    folder: Path
    redis_url: str
    url: str = field(default_factory=lambda: f"http://127.0.0.1:{free_port()}")
    postgres_port: int = field(default_factory=free_port)
    key: str = ""
    kills: list[str] = field(default_factory=list)
    running: dict[str, ExitStack] = field(default_factory=dict)
    api: subprocess.Popen[bytes] | None = None
    database: EmbeddedServer | None = None

    @property
    def environment(self) -> dict[str, str]:
        assert self.database is not None
        return os.environ | {
            "THUMBWHEEL_DATABASE_URL": self.database.url,
            "THUMBWHEEL_REDIS_URL": self.redis_url,
            "THUMBWHEEL_DATA_DIR": str(self.folder / "data"),
        }

    def start_postgres(self) -> None:
        self.running["postgres"] = ExitStack()
        self.database = self.running["postgres"].enter_context(
            services.embedded_postgres(self.folder / "postgres", port=self.postgres_port)
        )

    def start_api(self) -> None:
        port = self.url.rpartition(":")[2]
        command = [sys.executable, "-m", "app.server", "--port", port]
        with (self.folder / "api.log").open("ab") as log:
            self.api = subprocess.Popen(tethered(command), env=self.environment, stderr=log)
        assert wait_until(lambda: _answers(self.url), 120), (self.folder / "api.log").read_text()

    def kill_api(self) -> None:
        assert self.api is not None
        self.api.kill()
        self.api.wait()
        self.kills.append("api")
        self.start_api()

    def stop_postgres_at_once(self) -> None:
        """Stops Postgres like `pg_ctl stop -m immediate`, without a checkpoint; its next start recovers the log."""
        assert self.database is not None
        os.kill(self.database.process.pid, signal.SIGQUIT)
        assert wait_until(lambda: not self.database.process.alive(), 120)
        self.running["postgres"].close()
        self.kills.append("postgres")
        self.start_postgres()

    def close(self) -> None:
        if self.api is not None:
            self.api.terminate()
            self.api.wait(timeout=60)
        self.running["postgres"].close()


@contextmanager
def machine(redis_url: str) -> Iterator[Machine]:
    with services.temporary() as folder:
        running = Machine(folder, redis_url)
        running.start_postgres()
        try:
            migrate(running.environment)
            running.key = _project_and_key(running)
            running.start_api()
            yield running
        finally:
            running.close()


def test_every_acknowledged_event_is_there_once_after_kills_of_the_api_and_of_postgres(servers):
    acknowledged: list[str] = []
    with machine(servers.redis_url) as ours:
        posting = threading.Thread(target=lambda: asyncio.run(_post(ours, acknowledged)))
        posting.start()
        _kill(ours, acknowledged, posting)
        posting.join()
        assert ours.database is not None
        with psycopg.connect(ours.database.url) as connection:
            stored = [event_id for (event_id,) in connection.execute("SELECT event_id FROM events")]

    assert len(acknowledged) == len(set(acknowledged)) >= EVENTS
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)
    assert ours.kills.count("api") >= 2
    assert ours.kills.count("postgres") >= 2


def _kill(ours: Machine, acknowledged: list[str], posting: threading.Thread) -> None:
    """Kills API and Postgres in turn, in the thread that started them, since they end with that thread."""
    for turn, after in enumerate(KILLS):
        wait_until(lambda after=after: len(acknowledged) >= after or not posting.is_alive(), DEADLINE_SECONDS)
        (ours.kill_api, ours.stop_postgres_at_once)[turn % 2]()


async def _post(ours: Machine, acknowledged: list[str]) -> None:
    async def client(name: int) -> None:
        """Sends each event until it is acknowledged, and only then the next one."""
        connection: Connection | None = None
        number = 0
        while len(acknowledged) < EVENTS:
            try:
                connection = connection or await connect(ours.url)
                status, body = await connection.request(_thumb(ours.key, f"client-{name}-{number}"))
            except OSError:
                connection = None
                await asyncio.sleep(0.05)  # the pause of a sender whose server is away
                continue
            if status == 503:
                await asyncio.sleep(0.05)
                continue
            assert status in (200, 201), body
            acknowledged.append(f"client-{name}-{number}")
            number += 1
        if connection is not None:
            connection.close()

    async with asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.gather(*map(client, range(CLIENTS)))
        await asyncio.sleep(0)  # one turn of the event loop, in which connections close


def _thumb(key: str, event_id: str) -> bytes:
    body = {"event_id": event_id, "completion_id": "c1", "actor": "ann", "signal": {"kind": "thumbs", "value": "up"}}
    return message("/v1/feedback", json.dumps(body).encode(), key=key)


def _project_and_key(ours: Machine) -> str:
    code = """
from thumbwheel import wire
from app.access import service as access
from app.database import transaction
from app.project_setup import service as project_setup
with transaction() as session:
    project_setup.create(session, wire.NewProject(project="desk", base_model="/models/base", suites=[]))
    new = wire.NewKey(name="t", scopes=["feedback:write"], project="desk")
    print(access.create_key(session, new, within=None).secret)
"""
    made = subprocess.run(
        [sys.executable, "-c", code], env=ours.environment, check=True, capture_output=True, text=True
    )
    return made.stdout.strip()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", timeout=2).is_success
    except httpx.HTTPError:
        return False
