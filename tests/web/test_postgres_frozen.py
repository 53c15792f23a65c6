"""Postgres freezes without closing its connections: requests get 503 in time, and none hangs."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app import database as app_database
from app.database import Purpose
from app.feedback.ingest import group_commit
from app.services.processes import living_in
from tests.conftest import Servers
from tests.hostile.crowd import Connection, _event
from tests.served import served

#: Far above every time-out of the server. Postgres stays frozen for longer than this.
HANG_SECONDS = 60
OPERATIONS = [
    ("POST", "/v1/feedback"), ("POST", "/v1/feedback/batch"), ("GET", "/v1/feedback"), ("GET", "/v1/runs"),
    ("GET", "/v1/releases/current"), ("GET", "/v1/projects/acme/readiness"), ("GET", "/v1/approvals"),
]  # fmt: skip


@contextmanager
def frozen(folder: Path) -> Iterator[None]:
    """Stops every process of the server with its data in `folder` until the block ends."""
    stopped = living_in(folder)
    assert stopped
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
def server(api, monkeypatch):
    """The URL and key of an API with short time-outs, as the tests wait for each of them."""
    monkeypatch.setattr(group_commit, "COMMAND_SECONDS", 1)
    monkeypatch.setattr(app_database, "CONNECT_SECONDS", 2)
    monkeypatch.setattr(app_database, "ANSWER_SECONDS", 0.5)
    for purpose in (Purpose.REQUESTS, Purpose.WHOLE_LOG):
        monkeypatch.setattr(purpose, "statement_seconds", 0.5)
    app_database.forget_connections()
    with served() as url:
        yield url, api.headers["Authorization"].removeprefix("Bearer ")
    app_database.forget_connections()


async def statuses_of(url: str, key: str, paths: list[tuple[str, str]]) -> list[int]:
    """Sends requests at the same moment and returns their statuses."""
    connections = [Connection(url, f"Authorization: Bearer {key}\r\n") for _ in paths]
    async with asyncio.timeout(HANG_SECONDS):
        bodies = [_event() if method == "POST" else b"" for method, _ in paths]
        bodies = [
            b"[" + body + b"]" if "batch" in path else body for body, (_, path) in zip(bodies, paths, strict=True)
        ]
        found = await asyncio.gather(
            *(
                connection.request(method, f"{path}?project=acme", body)
                for connection, (method, path), body in zip(connections, paths, bodies, strict=True)
            )
        )
    for connection in connections:
        connection.close()
    return found


async def story(url: str, key: str, folder: Path) -> None:
    assert set(await statuses_of(url, key, OPERATIONS)) <= {200, 201, 207}
    with frozen(folder):
        for _ in range(2):  # on open connections, and on new ones
            statuses = await statuses_of(url, key, [*OPERATIONS, ("GET", "/readyz"), ("GET", "/livez")])
            assert statuses == [503] * (len(OPERATIONS) + 1) + [200]
    async with asyncio.timeout(HANG_SECONDS):
        while set(await statuses_of(url, key, [*OPERATIONS, ("GET", "/readyz")])) - {200, 201, 207}:
            await asyncio.sleep(0.1)


@pytest.mark.trial
def test_requests_hear_503_while_postgres_is_frozen_and_are_served_when_it_goes_on(server, migrated: Servers) -> None:
    asyncio.run(story(*server, migrated.folder / "postgres"))
