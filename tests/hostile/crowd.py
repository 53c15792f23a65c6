"""A crowd that asks what is live at the same moment, while events come in and probes ask whether the process lives.

The crowd is a process of its own: what it costs to read its answers must not count as the server's time.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from statistics import quantiles
from urllib.parse import urlsplit

HANG_SECONDS = 30.0
SENDERS = 4
QUIET_SECONDS = 3.0
#: From one moment at which every reader sends to the next one.
ROUND_SECONDS = 1.0
PROBE_SECONDS = 0.05


class Connection:
    """One kept connection that is opened again where the server has closed it."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> None:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self, method: str, path: str, body: bytes = b"") -> int:
        """Returns the status of the answer, once it is there whole. Raises `OSError` where the connection was cut."""
        await self.open()
        assert self._streams is not None
        reader, writer = self._streams
        head = f"{method} {path} HTTP/1.1\r\nHost: crowd\r\nAuthorization: Bearer {self._key}\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        try:
            writer.write(head.encode() + b"\r\n" + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            lines = answer.lower().split(b"\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            await reader.readexactly(length)
            if b"connection: close" in lines:
                await self.close()
            return int(answer[9:12])
        except asyncio.IncompleteReadError as error:
            await self.close()
            raise ConnectionError("cut") from error

    async def close(self) -> None:
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def crowd(url: str, api_key: str, project: str, readers: int = 1000, seconds: float = 10) -> dict[str, float]:
    """Returns the p99 of ingest in ms without and with the crowd, the slowest answer of a probe, and the faults."""
    port = urlsplit(url).port or 80
    quiet = await _ingest(port, api_key, project, QUIET_SECONDS, "quiet")
    arguments = [str(port), api_key, project, str(readers), str(seconds)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.hostile.crowd", *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"connected\n"
    ingest, probes = await asyncio.gather(
        _ingest(port, api_key, project, seconds, "crowd"), _probe(port, api_key, seconds)
    )
    found = json.loads(await process.stdout.readline())
    await process.wait()
    left = time.monotonic()
    last = Connection(port, api_key)
    await asyncio.wait_for(last.ask("GET", f"/v1/releases/current?project={project}"), HANG_SECONDS)
    recovered = time.monotonic() - left
    await last.close()
    return {
        "ingest_p99_quiet_ms": round(_p99(quiet) * 1000, 1),
        "ingest_p99_ms": round(_p99(ingest) * 1000, 1),
        "livez_max_ms": round(max(probes) * 1000, 1),
        "recovered_seconds": round(recovered, 3),
        **found,
    }


def _p99(seconds: list[float]) -> float:
    return quantiles(seconds, n=100)[-1]


async def _ingest(port: int, key: str, project: str, seconds: float, name: str) -> list[float]:
    """Returns how long each event took, sent by a few senders one after the other."""

    async def send(sender: int) -> list[float]:
        connection, took = Connection(port, key), []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            body = {
                "event_id": f"{name}-{sender}-{len(took)}", "completion_id": f"{name}-{sender}-{len(took)}",
                "actor": f"actor {sender}", "prompt": "Where is it?", "completion": "On its way.",
                "signal": {"kind": "thumbs", "value": "up"},
            }  # fmt: skip
            began = time.monotonic()
            status = await asyncio.wait_for(
                connection.ask("POST", f"/v1/feedback?project={project}", json.dumps(body).encode()), HANG_SECONDS
            )
            assert status in (200, 201), status
            took.append(time.monotonic() - began)
        await connection.close()
        return took

    return [each for took in await asyncio.gather(*map(send, range(SENDERS))) for each in took]


async def _probe(port: int, key: str, seconds: float) -> list[float]:
    took, until = [], time.monotonic() + seconds
    connection = Connection(port, key)
    while time.monotonic() < until:
        began = time.monotonic()
        assert await asyncio.wait_for(connection.ask("GET", "/livez"), HANG_SECONDS) == 200
        took.append(time.monotonic() - began)
        await asyncio.sleep(PROBE_SECONDS)
    await connection.close()
    return took


async def read_together(port: int, key: str, path: str, readers: int, seconds: float) -> dict[str, int]:
    """Has every reader send at the same moment, again and again; returns what went wrong."""
    connections = [Connection(port, key) for _ in range(readers)]
    for connection in connections:
        await connection.open()
    print("connected", flush=True)
    found = {"hangs": 0, "errors_503": 0, "errors_5xx_other": 0, "reads": 0}

    async def read(connection: Connection) -> None:
        found["reads"] += 1
        try:
            status = await asyncio.wait_for(connection.ask("GET", path), HANG_SECONDS)
        except TimeoutError:
            found["hangs"] += 1
        except OSError:
            found["errors_5xx_other"] += 1
        else:
            found["errors_503"] += status == 503
            found["errors_5xx_other"] += status not in (200, 304, 503)

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        await _all(read, connections)
        await asyncio.sleep(max(0.0, began + ROUND_SECONDS - time.monotonic()))
    for connection in connections:
        await connection.close()
    return found


async def _all(read: Callable[[Connection], Awaitable[None]], connections: list[Connection]) -> None:
    await asyncio.gather(*(read(connection) for connection in connections))


if __name__ == "__main__":
    port, key, project, readers, seconds = sys.argv[1:]
    path = f"/v1/releases/current?project={project}"
    print(json.dumps(asyncio.run(read_together(int(port), key, path, int(readers), float(seconds)))))
