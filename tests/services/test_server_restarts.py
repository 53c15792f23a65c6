"""Embedded servers that are killed under `thumbwheel up` come back, and no acknowledged event is lost."""

import os
import signal
import threading
import time
from pathlib import Path

import httpx
import psycopg
import pytest
import redis

from app import services
from app.errors import Unavailable
from app.services.server_watch import MAX_RESTARTS, WINDOW_SECONDS, Restarts, ServerWatch
from tests.services.test_up import folder, up  # noqa: F401 - a fixture

CLIENTS = 16
EVENTS_BETWEEN = 64
PATIENCE_SECONDS = 120

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(600)]


class Senders:
    """Clients that send each event until it is acknowledged."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.url, self.headers = url, headers
        self.acknowledged: list[str] = []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._send, args=(name,)) for name in range(CLIENTS)]

    def _send(self, name: int) -> None:
        number = 0
        with httpx.Client(base_url=self.url, headers=self.headers, timeout=30) as client:
            while not self.stopped.is_set():
                event_id = f"{name}-{number}"
                signal_ = {"kind": "thumbs", "value": "up"}
                event = {"event_id": event_id, "completion_id": f"c{name}", "actor": f"a{name}", "signal": signal_}
                try:
                    answer = client.post("/v1/feedback", params={"project": "desk"}, json=event)
                except httpx.TransportError:
                    time.sleep(0.05)
                    continue
                if answer.status_code in (200, 201):
                    self.acknowledged.append(event_id)
                    number += 1
                else:
                    time.sleep(0.05)

    def __enter__(self) -> "Senders":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def wait_for_more(self) -> None:
        wanted = len(self.acknowledged) + EVENTS_BETWEEN
        assert services.wait_until(lambda: len(self.acknowledged) >= wanted, PATIENCE_SECONDS)


def pid_of(folder: Path, name: str) -> int:  # noqa: F811
    """The process id of an embedded server."""
    if name == "Postgres":
        return int((folder / "postgres" / "cluster" / "postmaster.pid").read_text().splitlines()[0])
    return services.processes.living_in(folder / "valkey" / "data")[0]


@pytest.mark.trial
def test_killed_servers_come_back_and_every_acknowledged_event_is_stored_once(folder):  # noqa: F811
    with up(folder, "--port", "0", base_models="on_workers") as terminal:
        url = terminal.wait_for(r"up: (http://127\.0\.0\.1:\d+) ")[1]
        key = terminal.wait_for(r"first admin key, shown this once: (\S+)")[1]
        headers = {"Authorization": f"Bearer {key}"}
        new = {"project": "desk", "base_model": "/models/base"}
        assert httpx.post(f"{url}/v1/projects", json=new, headers=headers, timeout=30).status_code == 201

        with Senders(url, headers) as senders:
            senders.wait_for_more()
            for name in ("Valkey", "Postgres"):
                os.kill(pid_of(folder, name), signal.SIGKILL)
                terminal.wait_for(rf"{name} \| was ended by SIGKILL; restarting it\n(.*\n)*.*{name} \| is back after")
                senders.wait_for_more()

        password = (folder / "postgres" / "password").read_text()
        port = (folder / "postgres" / "cluster" / "postmaster.pid").read_text().splitlines()[3]
        with psycopg.connect(f"postgresql://thumbwheel:{password}@127.0.0.1:{port}/thumbwheel") as connection:
            stored = [event_id for (event_id,) in connection.execute("SELECT event_id FROM events")]
        assert len(stored) == len(set(stored))

        assert set(senders.acknowledged) <= set(stored)

        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            # An erasure goes through the outbox, the restarted broker and a worker to the restarted database.
            erasure = client.delete("/v1/actors", params={"project": "desk", "actor": "a0"})
            assert erasure.status_code == 202, erasure.text
            location = erasure.headers["Location"]
            assert services.wait_until(lambda: client.get(location).json()["state"] == "done", PATIENCE_SECONDS)

        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ended() == 0


def test_restarts_come_after_growing_pauses_and_end_at_a_bound_in_a_window_of_time():
    restarts = Restarts()

    assert [restarts.next_pause(now) for now in range(MAX_RESTARTS)] == [0, 1, 2, 4, 8]
    assert restarts.next_pause(MAX_RESTARTS) is None
    assert restarts.next_pause(WINDOW_SECONDS + 0.5) == 8  # one restart is no longer in the window
    assert restarts.next_pause(3 * WINDOW_SECONDS) == 0


def test_a_server_that_dies_too_often_ends_the_watch_with_the_reason_and_keeps_its_data_until_then():
    lines: list[tuple[str, str]] = []
    with services.temporary() as own, services.embedded_valkey(own / "valkey") as server:
        watch = ServerWatch(lambda name, line: lines.append((name, line)), {"Valkey": server})
        url = server.url
        with redis.Redis.from_url(url) as client:
            client.set("kept", "yes")
            client.execute_command("WAITAOF", 1, 0, 10_000)
        server.process.kill()
        watch.watch()
        with redis.Redis.from_url(url) as client:
            assert client.get("kept") == b"yes"
        assert lines[0] == ("Valkey", "was ended by SIGKILL; restarting it")

        watch.restarts["Valkey"].times.extend([time.monotonic()] * MAX_RESTARTS)
        server.process.kill()
        with pytest.raises(Unavailable, match="Valkey was ended by SIGKILL, after 5 restarts within 10 minutes"):
            watch.watch()
