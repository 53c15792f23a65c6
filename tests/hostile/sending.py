"""Sends hostile requests, each over a new connection, and counts the answers."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.hostile.inputs import Sent
from tests.hostile.server import Target

HANG_SECONDS = 30
AT_ONCE = 8
#: Answers of the router to requests that match no operation.
NO_OPERATION = {"http_404", "http_405"}
#: Answers before any operation sees the request; the description of the API names them.
OF_THE_CONNECTION = {"malformed_request", "url_too_long", "headers_too_large", "headers_timeout", "body_timeout"}


@dataclass
class Counts:
    requests: int = 0
    server_errors: int = 0
    unavailable: int = 0
    hangs: int = 0
    undocumented: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def note(self, sent: Sent, what: str) -> None:
        if len(self.examples) < 40:
            self.examples.append(
                f"{what}: {sent.operation.method} {sent.target[:150]!r} {sent.headers[1:]!r} {sent.body[:60]!r}"[:500]
            )


async def send_all(target: Target, requests: Iterable[Sent], on_each: Callable[[Counts], None]) -> Counts:
    """Sends all requests, a few at a time, and counts wrong answers."""
    counts, waiting = Counts(), iter(requests)

    async def work() -> None:
        for sent in waiting:
            await _send(target, sent, counts)
            on_each(counts)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return counts


async def _send(target: Target, sent: Sent, counts: Counts) -> None:
    counts.requests += 1
    try:
        status, body = await asyncio.wait_for(_answer(target, sent), HANG_SECONDS)
    except TimeoutError:
        counts.hangs += 1
        counts.note(sent, "no answer")
        return
    counts.statuses[status] += 1
    if status == 503 and b"\r\nretry-after:" in body.lower():
        counts.unavailable += 1
    elif status >= 500 or status == 0:
        counts.server_errors += 1
        counts.note(sent, f"status {status}")
    elif status not in sent.operation.statuses and not _not_the_operation(status, body):
        counts.undocumented += 1
        counts.note(sent, f"undocumented status {status}")


async def _answer(target: Target, sent: Sent) -> tuple[int, bytes]:
    """Returns the status and the whole answer; the status is 0 if the connection ended without an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    try:
        length = b"Transfer-Encoding: chunked" if sent.chunked else b"Content-Length: %d" % len(sent.body)
        lines = [sent.operation.method.encode() + b" " + sent.target + b" HTTP/1.1", b"Connection: close"]
        if not any(name == b"Host" for name, _ in sent.headers):
            lines.append(b"Host: hostile")
        lines += [name + b": " + value for name, value in sent.headers]
        if sent.body or sent.operation.method in ("POST", "PUT", "PATCH"):
            lines.append(length)
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(sent.body), sent.body) if sent.chunked and sent.body else sent.body
        if sent.chunked and not sent.body:
            body = b"0\r\n\r\n"
        sending = asyncio.create_task(_write(writer, b"\r\n".join(lines) + b"\r\n\r\n", body))
        answer = await _read(reader)
        sending.cancel()
        if answer.startswith(b"HTTP/1.1 100 "):  # an interim response; the final one follows
            answer = answer.partition(b"\r\n\r\n")[2]
        return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0, answer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _write(writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
    with suppress(OSError):  # the API answered and closed before reading everything
        writer.write(head + body)
        await writer.drain()


async def _read(reader: asyncio.StreamReader) -> bytes:
    answer = b""
    with suppress(OSError):
        while (piece := await reader.read(65536)) and len(answer) < 64 * 1024 * 1024:
            answer += piece
    return answer


def _not_the_operation(status: int, answer: bytes) -> bool:
    try:
        return json.loads(answer.partition(b"\r\n\r\n")[2])["code"] in NO_OPERATION | OF_THE_CONNECTION
    except (ValueError, KeyError, TypeError):
        return False
