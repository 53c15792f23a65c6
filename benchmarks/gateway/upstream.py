"""A model server that costs nothing: `python -m benchmarks.gateway.upstream PORT TOKENS PACE`.

It writes a token of every stream every PACE seconds, all streams in the same moment, as vLLM does after each step of
its batch, or each stream at its own times with `--apart`. With log-probs and token ids if it is asked for them.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable

import uvloop

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"


def event(document: object) -> bytes:
    return framed(b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n")


def framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


#: In place of the time of an event. All times have as many digits.
TIME = 1_000_000_000_000_000


def now() -> bytes:
    """Returns the time in nanoseconds, as every process of this machine counts it, in as many digits as `TIME`."""
    return b"%d" % (TIME + time.monotonic_ns() % TIME)


def chunk(*, last: bool, with_log_probs: bool) -> bytes:
    choice = {
        "index": 0, "delta": {"content": " token"}, "logprobs": None, "finish_reason": "stop" if last else None,
    }  # fmt: skip
    if with_log_probs:
        shown = {"token": " token", "logprob": -0.693, "bytes": [32, 116, 111, 107, 101, 110], "top_logprobs": []}
        choice |= {"logprobs": {"content": [shown]}, "token_ids": [3263]}
    return event(
        {
            "id": "chatcmpl-0123456789abcdef", "object": "chat.completion.chunk", "created": TIME,
            "model": "bench-0123456789ab", "choices": [choice],
        }
    )  # fmt: skip


class Steps:
    """The steps of the batch: all streams of a step write at once."""

    def __init__(self, pace: float) -> None:
        self.pace = pace
        self.streams: set[Callable[[], bool]] = set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time()
        while True:
            at += self.pace
            await asyncio.sleep(max(0, at - loop.time()))
            self.streams -= {stream for stream in list(self.streams) if not stream()}


class Connection(asyncio.Protocol):
    def __init__(self, steps: Steps, tokens: int, *, apart: bool) -> None:
        self.steps, self.tokens, self.apart = steps, tokens, apart
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = next(
            int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        if len(body) >= length:
            self.received = body[length:]
            self.answer(json.loads(body[:length]))

    def answer(self, request: dict[str, object]) -> None:
        with_log_probs = bool(request.get("logprobs"))
        plain = chunk(last=False, with_log_probs=with_log_probs)
        end = chunk(last=True, with_log_probs=with_log_probs)
        if request.get("stream_options"):
            end += event({"id": "x", "choices": [], "usage": {"completion_tokens": self.tokens}})
        end += framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"
        left = self.tokens
        self.write(HEAD)

        def step() -> bool:
            nonlocal left
            left -= 1
            self.write((plain if left else end).replace(b"%d" % TIME, now(), 1))
            return left > 0

        if self.apart:
            asyncio.get_running_loop().create_task(self.alone(step))
        else:
            self.steps.streams.add(step)

    async def alone(self, step: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time()
        while True:
            at += self.steps.pace
            await asyncio.sleep(max(0, at - loop.time()))
            if not step():
                return

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():  # type: ignore[attr-defined]
            self.transport.write(data)  # type: ignore[attr-defined]


async def serve(port: int, tokens: int, pace: float, *, apart: bool) -> None:
    steps = Steps(pace)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(steps, tokens, apart=apart), "127.0.0.1", port, backlog=500
    )
    async with server:
        await steps.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("tokens", type=int)
    parser.add_argument("pace", type=float)
    parser.add_argument("--apart", action="store_true")
    given = parser.parse_args()
    uvloop.run(serve(given.port, given.tokens, given.pace, apart=given.apart))
