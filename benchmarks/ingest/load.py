"""HTTP clients with little overhead, since they share the cores with the server that they measure."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit


class Hung(ConnectionError):
    """The server closed the connection before its answer was complete."""


class Connection(asyncio.Protocol):
    """A persistent connection for one request at a time. It reads only answers with a Content-Length."""

    def __init__(self) -> None:
        self._received = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end].lower()
        start = head.find(b"content-length:") + 15
        length = int(head[start : (head.find(b"\r\n", start) + 1 or len(head) + 1) - 1])
        if len(self._received) < end + 4 + length:
            return
        body = self._received[end + 4 : end + 4 + length]
        self._received = b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, _: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Hung("the server closed the connection"))
        self._transport = None

    def request(self, message: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        """Sends a request and returns its status and body. Raises `Hung` if the server closes the connection."""
        if self._transport is None:
            raise Hung("the connection is closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        return self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def connect(url: str) -> Connection:
    parts = urlsplit(url)
    _, connection = await asyncio.get_running_loop().create_connection(Connection, parts.hostname, parts.port)
    return connection


async def close(connections: Iterable[Connection]) -> None:
    for connection in connections:
        connection.close()
    await asyncio.sleep(0)  # lets the event loop close them


def message(path: str, body: bytes, *, key: str | None = None, kind: str = "application/json") -> bytes:
    """Returns a POST request as bytes."""
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\n{authorization}Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass
class Load:
    """The result of a load: the count of answers by status, and each answer's seconds since the request was due."""

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def count(self, status: int, seconds: float) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.latencies.append(seconds)


async def closed(url: str, make: Callable[[int], bytes], *, clients: int, seconds: float) -> Load:
    """Runs a load in which every client sends its next request when the last one is answered."""
    load, numbers = Load(), iter(range(10**9))
    connections = [await connect(url) for _ in range(clients)]
    began = time.perf_counter()
    until = began + seconds

    async def client(connection: Connection) -> None:
        while (sent := time.perf_counter()) < until:
            status, _ = await connection.request(make(next(numbers)))
            load.count(status, time.perf_counter() - sent)

    await asyncio.gather(*map(client, connections))
    load.seconds = time.perf_counter() - began
    await close(connections)
    return load


async def steady(url: str, make: Callable[[int], bytes], *, clients: int, seconds: float, per_second: float) -> Load:
    """Runs a load at even intervals that the server cannot slow down: the wait for a free client counts as latency."""
    load, numbers = Load(), iter(range(int(seconds * per_second)))
    connections = [await connect(url) for _ in range(clients)]
    began = time.perf_counter() + 0.05

    async def client(connection: Connection) -> None:
        for number in numbers:
            due = began + number / per_second
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            status, _ = await connection.request(make(number))
            load.count(status, time.perf_counter() - due)

    await asyncio.gather(*map(client, connections))
    load.seconds = time.perf_counter() - began
    await close(connections)
    return load


def median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
