"""Postgres goes away under a gateway: answers flow, and what was written is registered when it is back."""

import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import httpx
import pytest

from app import services
from tests.desk import DESK, make_project
from tests.gateway.conftest import Served, add_target, live, make_key
from tests.gateway.openai_server import model_server


class Way:
    """A way to Postgres that can be cut: connections break, and no new one is taken."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open = True
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._open = False
        for pair in self._pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def mend(self) -> None:
        self._open = True

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                if not self._open:
                    caller.close()
                    continue
                pair = (caller, socket.create_connection(self._to))
                self._pairs.append(pair)
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, caller: socket.socket, server: socket.socket) -> None:
        with caller, server, suppress(OSError):
            while True:
                for ready in select.select([caller, server], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    (server if ready is caller else caller).sendall(data)


@contextmanager
def process(database_url: str, environment: dict[str, str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Runs the command's own process of the gateway."""
    port = services.free_port()
    started = subprocess.Popen(
        [sys.executable, "-m", "app.cli.main", "gateway", "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, **environment, "THUMBWHEEL_DATABASE_URL": database_url},
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"

        def ready() -> bool:
            with suppress(httpx.HTTPError):
                return httpx.get(f"{url}/readyz").status_code == 200
            return False

        assert services.wait_until(ready, 60)
        yield url, started
    finally:
        started.terminate()
        assert started.wait(30) == 0


@pytest.fixture
def way(database: str) -> Iterator[Way]:
    parts = urlsplit(database)
    way = Way(parts.hostname or "127.0.0.1", parts.port or 5432)
    yield way
    way.close()


def test_answers_flow_while_postgres_is_away_and_are_registered_when_it_is_back(database, migrated, way):
    make_project()
    parts = urlsplit(database)
    by_the_way = database.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{way.port}")
    with model_server() as server:
        add_target("gpu", server.url, live())
        key = make_key("gateway:use")
        with process(by_the_way, migrated.environment) as (url, _):
            served = Served(url, key, live(), stack=None)
            served.registered(served.post().json()["id"])

            way.cut()
            ids = []
            slowest = 0.0
            while served.figures()["postgres"] == "ok" or len(ids) < 10:
                began = time.monotonic()
                answer = served.post(stream=True)
                slowest = max(slowest, time.monotonic() - began)
                assert answer.status_code == 200, answer.text
                ids.append(answer.headers["X-Thumbwheel-Completion-Id"])
            figures = served.figures()
            served.key = make_key("gateway:use")
            unknown = served.post()
            served.key = key

            way.mend()
            for completion_id in ids:
                assert served.registered(completion_id).completion == "It left this morning."
            after = served.figures()

    assert slowest < 1
    assert (figures["postgres"], figures["registered"], figures["waiting"]) == ("away", 1, len(ids))
    assert (unknown.status_code, unknown.headers["Retry-After"]) == (503, "2")  # nobody can say whose key it is
    assert (after["registered"], after["unregistered"], after["waiting"]) == (1 + len(ids), 0, 0)
    assert DESK in after["projects"]
