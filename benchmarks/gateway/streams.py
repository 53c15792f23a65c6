"""Callers of streamed completions: each asks again as soon as its answer has ended."""

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from benchmarks.gateway.upstream import TIME

WRITTEN = b'"created":'


@dataclass
class Times:
    """Seconds of the answers.

    first  from the request to the first token
    whole  from the request to the last byte
    token  from the moment in which the server writes a token until it is here
    """

    first: list[float] = field(default_factory=list)
    token: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0


def request(url: str, model: str, key: str) -> bytes:
    messages = [{"role": "system", "content": "You help."}, {"role": "user", "content": "Where is my parcel? " * 20}]
    body = json.dumps({"model": model, "messages": messages, "stream": True, "temperature": 0.7}).encode()
    parts = urlsplit(url)
    head = (
        f"POST {parts.path}/chat/completions HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def measure(url: str, model: str, key: str, *, callers: int, answers: int, spread: float) -> Times:
    """Returns the times of `answers` answers to each of `callers` callers, which begin within `spread` seconds."""
    times = Times()
    sent = request(url, model, key)
    began = time.perf_counter()
    await asyncio.gather(*(_caller(url, sent, answers, random.random() * spread, times) for _ in range(callers)))
    times.seconds = time.perf_counter() - began
    return times


async def _caller(url: str, sent: bytes, answers: int, pause: float, times: Times) -> None:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    await asyncio.sleep(pause)
    for _ in range(answers):
        began = time.perf_counter()
        writer.write(sent)
        received = await reader.readuntil(b"\r\n\r\n")
        if not received.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{url} answered {(received + await reader.read(1000)).decode()}")
        await reader.readuntil(WRITTEN)
        times.first.append(time.perf_counter() - began)
        while (written := await reader.readexactly(16)).isdigit():
            times.token.append((time.monotonic_ns() % TIME - (int(written) - TIME)) / 1e9)
            rest = await reader.readuntil(b"\n\n")
            if b'"stop"' in rest:
                break
            await reader.readuntil(WRITTEN)
        await reader.readuntil(b"0\r\n\r\n")
        times.whole.append(time.perf_counter() - began)
    writer.close()
