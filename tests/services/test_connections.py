"""Connections to a real server process: limits on requests, and a shutdown that interrupts none."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx
import psycopg
import pytest
from thumbwheel import wire

from app import services, settings
from app.access import service as access
from app.database import transaction
from app.project_setup import service as project_setup
from tests.served import served

CLIENTS = 64
DEADLINE_SECONDS = 60


@dataclass
class Api:
    port: int
    key: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, event_id: str) -> bytes:
        event = {"event_id": event_id, "completion_id": "c1", "actor": "a", "signal": {"kind": "thumbs", "value": "up"}}
        body = json.dumps(event).encode()
        head = f"POST /v1/feedback HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def exchange(self, request: bytes) -> tuple[int, dict[str, str], dict]:
        """Sends `request` on a new connection, which the server must close, and returns the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            answer = await answer_on(reader)
            assert await reader.read() == b""
            return answer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@dataclass
class ApiProcess(Api):
    process: subprocess.Popen[bytes]


@contextmanager
def process_serves(servers, key: str, **chosen: str) -> Iterator[ApiProcess]:
    port = services.free_port()
    environment = os.environ | servers.environment
    environment |= {f"THUMBWHEEL_{name.upper()}": value for name, value in chosen.items()}
    command = [sys.executable, "-m", "app.server", "--port", str(port), "--log-level", "critical"]
    process = subprocess.Popen(services.tethered(command), env=environment, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/livez", timeout=30).is_success
        except httpx.ConnectError:
            return False

    try:
        assert services.wait_until(answers, 120)
        yield ApiProcess(port, key, process)
    finally:
        process.kill()
        process.wait()


@contextmanager
def thread_serves(key: str) -> Iterator[Api]:
    """Serves the API in a thread of this process, which saves the seconds that a process takes to start."""
    with served() as url:
        yield Api(int(url.rpartition(":")[2]), key)


@pytest.fixture
def key(database: str) -> str:
    with transaction() as session:
        project_setup.create(session, wire.NewProject(project="desk", base_model="/models/base", suites=[]))
        made = wire.NewKey(name="sender", scopes=["feedback:write"], project="desk")
        return access.create_key(session, made, within=None).secret


async def answer_on(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], dict]:
    """Reads status, headers and body. Raises `IncompleteReadError` if the connection ends before the answer does."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, json.loads(body)


@dataclass
class Sent:
    written: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    closes_announced: int = 0


@pytest.mark.trial
def test_sigterm_cuts_no_request_of_64_clients_that_keep_their_connections(servers, key):
    sent = Sent()

    async def client(api: ApiProcess, name: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        for number in range(100_000):
            event_id = f"{name}-{number}"
            writer.write(api.post(event_id))
            await writer.drain()
            sent.written.append(event_id)
            status, headers, _ = await answer_on(reader)
            assert status == 201
            sent.acknowledged.append(event_id)
            if headers.get("connection") == "close":
                sent.closes_announced += 1
                assert await reader.read() == b""
                break
        writer.close()

    async def stop(api: ApiProcess) -> None:
        while len(sent.acknowledged) < 5 * CLIENTS:
            await asyncio.sleep(0.01)
        api.process.send_signal(signal.SIGTERM)

    async def scenario(api: ApiProcess) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await asyncio.gather(stop(api), *(client(api, name) for name in range(CLIENTS)))

    with process_serves(servers, key) as api:
        asyncio.run(scenario(api))
        assert api.process.wait(DEADLINE_SECONDS) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{api.url}/livez")

    assert sent.closes_announced == CLIENTS
    assert sorted(sent.acknowledged) == sorted(sent.written)
    with psycopg.connect(servers.database_url) as connection:
        stored = [event_id for (event_id,) in connection.execute("SELECT event_id FROM events")]
    assert sorted(stored) == sorted(sent.written)


@pytest.mark.trial
def test_sigterm_waits_for_a_request_that_has_begun_and_for_one_on_an_idle_connection(servers, key):
    async def scenario(api: ApiProcess) -> list[int]:
        begun = await asyncio.open_connection("127.0.0.1", api.port)
        request = api.post("begun")
        begun[1].write(request[:-10])
        idle = await asyncio.open_connection("127.0.0.1", api.port)
        idle[1].write(api.post("first"))
        assert (await answer_on(idle[0]))[0] == 201

        api.process.send_signal(signal.SIGTERM)
        while True:
            try:
                (await asyncio.open_connection("127.0.0.1", api.port))[1].close()
            except ConnectionRefusedError:
                break
            await asyncio.sleep(0.01)
        begun[1].write(request[-10:])
        idle[1].write(api.post("second"))

        statuses = []
        for reader, writer in (begun, idle):
            status, headers, _ = await answer_on(reader)
            assert headers["connection"] == "close"
            assert await reader.read() == b""
            writer.close()
            statuses.append(status)
        return statuses

    with process_serves(servers, key) as api:
        assert asyncio.run(scenario(api)) == [201, 201]
        assert api.process.wait(DEADLINE_SECONDS) == 0


@pytest.mark.trial
def test_the_time_to_shut_down_is_bounded(servers, key):
    async def scenario(api: ApiProcess) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(api.post("never complete")[:-10])
        await writer.drain()
        api.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_SECONDS):
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await answer_on(reader)
        writer.close()

    with process_serves(servers, key, shutdown_seconds="1") as api:
        asyncio.run(scenario(api))
        assert api.process.wait(DEADLINE_SECONDS) == 0


@pytest.mark.trial
def test_1500_half_sent_requests_are_closed_while_others_are_answered(servers, key):
    async def half_sent(api: ApiProcess, number: int) -> str:
        request = api.post(f"half-{number}")
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        kind = ("head", "body", "drip")[number % 3]
        writer.write(request[:40] if kind != "body" else request[:-10])
        dripping = asyncio.create_task(drip(writer)) if kind == "drip" else None
        try:
            status, headers, problem = await answer_on(reader)
        finally:
            if dripping is not None:
                dripping.cancel()
            writer.close()
        assert (status, headers["content-type"]) == (408, "application/problem+json")
        return problem["code"]

    async def drip(writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            await asyncio.sleep(0.5)
            writer.write(b"x")

    async def well_behaved(api: ApiProcess, closing: asyncio.Future) -> int:
        answered = 0
        while not closing.done() or not answered:
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
            writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await answer_on(reader))[0] == 200
            writer.write(api.post(f"whole-{answered}"))
            assert (await answer_on(reader))[0] == 201
            writer.close()
            answered += 1
        return answered

    async def scenario(api: ApiProcess) -> tuple[list[str], int]:
        async with asyncio.timeout(2 * DEADLINE_SECONDS):
            closing = asyncio.ensure_future(asyncio.gather(*(half_sent(api, number) for number in range(1500))))
            answered = await well_behaved(api, closing)
            return await closing, answered

    with process_serves(servers, key, header_seconds="3", body_seconds="3") as api:
        codes, answered = asyncio.run(scenario(api))

    assert answered >= 1
    assert {code: codes.count(code) for code in codes} == {"headers_timeout": 1000, "body_timeout": 500}


def test_too_long_urls_and_headers_and_malformed_requests_are_refused_as_problems(key):
    async def scenario(api: Api) -> list[tuple[int, str]]:
        many = "".join(f"X-{number}: 1\r\n" for number in range(101))
        requests = {
            "url": f"GET /livez?{'a' * 9000} HTTP/1.1\r\nHost: x\r\n\r\n",
            "long header": f"GET /livez HTTP/1.1\r\nHost: x\r\nX: {'a' * 33_000}\r\n\r\n",
            "endless header": f"GET /livez HTTP/1.1\r\nHost: x\r\nX: {'a' * 100_000}",
            "many headers": f"GET /livez HTTP/1.1\r\nHost: x\r\n{many}\r\n",
            "no HTTP": "no http at all\r\n\r\n",
        }
        outcomes = []
        for request in requests.values():
            status, headers, problem = await api.exchange(request.encode())
            assert headers["content-type"] == "application/problem+json"
            outcomes.append((status, problem["code"]))
        # Invalid data after a complete request does not affect the answer to that request.
        assert (await api.exchange(api.post("whole") + b"no http at all\r\n\r\n"))[0] == 201
        return outcomes

    with thread_serves(key) as api:
        outcomes = asyncio.run(scenario(api))

    assert outcomes == [
        (414, "url_too_long"),
        (431, "headers_too_large"),
        (431, "headers_too_large"),
        (431, "headers_too_large"),
        (400, "malformed_request"),
    ]


def test_requests_on_more_connections_than_allowed_get_503_with_retry_after(key, monkeypatch):
    async def scenario(api: Api) -> tuple[int, dict[str, str], dict]:
        writers = [(await asyncio.open_connection("127.0.0.1", api.port))[1] for _ in range(8)]
        try:
            return await api.exchange(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        finally:
            for writer in writers:
                writer.close()

    monkeypatch.setenv("THUMBWHEEL_MAX_CONNECTIONS", "8")
    settings.current.cache_clear()
    with thread_serves(key) as api:
        status, headers, problem = asyncio.run(scenario(api))
    monkeypatch.undo()
    settings.current.cache_clear()

    assert (status, headers["retry-after"], problem["code"]) == (503, "2", "too_many_connections")
