"""Postgres goes away under a gateway: answers flow, and what was written is registered when it is back."""

import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest

from app import services, settings
from app.cli.main import app as cli
from app.database import Purpose, engine, forget_connections
from app.gateway.main import create_gateway
from tests.desk import DESK, make_project
from tests.gateway.conftest import Served, add_target, live, make_key
from tests.gateway.openai_server import model_server
from tests.served import in_a_thread


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


@pytest.fixture
def way(database: str) -> Iterator[Way]:
    """The way to Postgres of the gateway alone: the test has connections of its own."""
    parts = urlsplit(database)
    way = Way(parts.hostname or "127.0.0.1", parts.port or 5432)
    forget_connections()
    engine(Purpose.WORK)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(
            "THUMBWHEEL_DATABASE_URL", database.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{way.port}")
        )
        settings.current.cache_clear()
        yield way
    settings.current.cache_clear()
    forget_connections()
    way.close()


def test_answers_flow_while_postgres_is_away_and_are_registered_when_it_is_back(way):
    make_project()
    with model_server() as server, in_a_thread(create_gateway) as url:
        add_target("gpu", server.url, live())
        key = make_key("gateway:use")
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


def test_the_command_becomes_the_server_of_the_gateway(database, monkeypatch):
    became = []
    monkeypatch.setattr(os, "execv", lambda _, command: became.append(command))

    cli(["gateway", "--host", "127.0.0.1", "--port", "0"], standalone_mode=False)

    [command] = became
    assert command[1:3] == ["-m", "app.server"]
    assert command[-2:] == ["--application", "app.gateway.main:create_tuned_gateway"]


@pytest.mark.trial
def test_the_command_answers_until_it_is_told_to_end(database, migrated):
    make_project()
    port = services.free_port()
    with model_server() as server:
        add_target("gpu", server.url, live())
        served = Served(f"http://127.0.0.1:{port}", make_key("gateway:use"), live(), stack=None)
        command = [sys.executable, "-m", "app.cli.main", "gateway", "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(command, env={**os.environ, **migrated.environment}, stderr=subprocess.DEVNULL)

        def ready() -> bool:
            with suppress(httpx.HTTPError):
                return httpx.get(f"{served.url}/readyz").status_code == 200
            return False

        try:
            assert services.wait_until(ready, 60)
            completion_id = served.post().json()["id"]
        finally:
            process.terminate()
            assert process.wait(30) == 0
        assert served.registered(completion_id).completion == "It left this morning."
