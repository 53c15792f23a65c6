"""A crowd of clients that send requests at the same moment, in waves, and the service that others get meanwhile.

The crowd runs in a separate process, so that only the API is slowed down.
"""

import asyncio
import json
import sys
import time
import uuid
from collections import Counter
from urllib.parse import urlsplit

#: Time after which a missing answer counts as a hang.
HANG_SECONDS = 20.0
PAUSE_SECONDS = 0.5
WRITERS = 4


class Connection:
    """One keep-alive connection with the little HTTP/1.1 that the crowd needs. It connects again after an answer that
    closes it."""

    def __init__(self, url: str, headers: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._headers = f"Host: {parts.netloc}\r\n{headers}"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def connect(self) -> None:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)

    async def request(self, method: str, path: str, body: bytes = b"") -> int:
        """Sends a request and returns the status: 0 for a hang, -1 for a broken connection."""
        try:
            async with asyncio.timeout(HANG_SECONDS):
                return await self._request(method, path, body)
        except TimeoutError:
            self.close()
            return 0
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return -1

    async def _request(self, method: str, path: str, body: bytes) -> int:
        await self.connect()
        assert self._streams is not None
        reader, writer = self._streams
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        writer.write(f"{method} {path} HTTP/1.1\r\n{self._headers}{length}\r\n".encode() + body)
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        headers = head.lower()
        if b"content-length: " in headers:
            await reader.readexactly(int(headers.split(b"content-length: ")[1].split(b"\r\n")[0]))
        if b"connection: close" in headers:
            self.close()
        return status

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


async def crowd(
    url: str, api_key: str, project: str, readers: int = 1000, seconds: float = 10, quiet_seconds: float = 3
) -> dict[str, float]:
    """Measures an API while `readers` clients request the current release at the same moments, for `seconds`.

    quiet_seconds  the duration of the measurement before

    ingest_p99_quiet_ms, ingest_p99_ms  latency of single events, before and meanwhile
    livez_max_ms                        the slowest answer of the probe meanwhile
    hangs                               requests without an answer, or whose connection broke
    recovered_seconds                   time from the end of the crowd until a read and an event succeed
    errors_503, errors_5xx_other        answers with these statuses, to all requests
    """
    headers = f"Authorization: Bearer {api_key}\r\n"
    statuses: Counter[int] = Counter()
    quiet, busy, probes = [], [], []
    await _write(url, headers, project, time.monotonic() + quiet_seconds, quiet, statuses)
    crowded = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.hostile.crowd", url, api_key, project, str(readers), str(seconds),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert crowded.stdout is not None
    await crowded.stdout.readline()  # all readers are connected
    until = time.monotonic() + seconds
    await asyncio.gather(
        _write(url, headers, project, until, busy, statuses), _probe(url, headers, until, probes, statuses)
    )
    answered = {int(status): count for status, count in json.loads(await crowded.stdout.readline()).items()}
    await crowded.wait()
    left = time.monotonic()
    last = Connection(url, headers)
    while await last.request("GET", f"/v1/releases/current?project={project}") != 200 or (
        await last.request("POST", f"/v1/feedback?project={project}", _event()) != 201
    ):
        if time.monotonic() - left > HANG_SECONDS:
            break
        await asyncio.sleep(0.05)
    last.close()
    statuses.update(answered)
    return {
        "ingest_p99_quiet_ms": _p99(quiet),
        "ingest_p99_ms": _p99(busy),
        "livez_max_ms": max(probes) * 1000,
        "hangs": statuses[0] + statuses[-1],
        "recovered_seconds": time.monotonic() - left,
        "errors_503": statuses[503],
        "errors_5xx_other": sum(count for status, count in statuses.items() if status >= 500 and status != 503),
        "reads": sum(answered.values()),
    }


async def _write(url: str, headers: str, project: str, until: float, took: list[float], statuses: Counter[int]) -> None:
    async def writer() -> None:
        connection = Connection(url, headers)
        while time.monotonic() < until:
            began = time.monotonic()
            statuses[await connection.request("POST", f"/v1/feedback?project={project}", _event())] += 1
            took.append(time.monotonic() - began)
        connection.close()

    await asyncio.gather(*(writer() for _ in range(WRITERS)))


async def _probe(url: str, headers: str, until: float, took: list[float], statuses: Counter[int]) -> None:
    connection = Connection(url, headers)
    while time.monotonic() < until:
        began = time.monotonic()
        statuses[await connection.request("GET", "/livez")] += 1
        took.append(time.monotonic() - began)
        await asyncio.sleep(0.02)
    connection.close()


async def _read(url: str, api_key: str, project: str, readers: int, seconds: float) -> None:
    connections = [Connection(url, f"Authorization: Bearer {api_key}\r\n") for _ in range(readers)]
    for start in range(0, readers, 100):
        await asyncio.gather(*(each.connect() for each in connections[start : start + 100]))
    _say("connected")
    statuses: Counter[int] = Counter()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        statuses.update(
            await asyncio.gather(
                *(each.request("GET", f"/v1/releases/current?project={project}") for each in connections)
            )
        )
        await asyncio.sleep(PAUSE_SECONDS)
    _say(json.dumps(statuses))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _event() -> bytes:
    event = {
        "event_id": str(uuid.uuid4()), "completion_id": str(uuid.uuid4()), "actor": "somebody",
        "signal": {"kind": "thumbs", "value": "up"}, "prompt": "How are you?", "completion": "Well, thank you.",
    }  # fmt: skip
    return json.dumps(event).encode()


def _p99(took: list[float]) -> float:
    return sorted(took)[int(len(took) * 0.99)] * 1000


if __name__ == "__main__":
    asyncio.run(_read(*sys.argv[1:4], int(sys.argv[4]), float(sys.argv[5])))
