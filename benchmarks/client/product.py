"""A product that answers requests and sends feedback, in a process of its own: what a put costs its requests.

python -m benchmarks.client.product URL threads|asyncio SECONDS   prints one line of JSON

A request reads a body of JSON, waits for its model and writes an answer. In every second turn it registers the answer
and puts a thumb. Fifty requests run at a time, each half a second after the one before it.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import quantiles
from typing import Any

from thumbwheel import FeedbackQueue

CALLERS, PACE_SECONDS, TURN_SECONDS = 50, 0.5, 1.0
HISTORY = [{"role": "user" if turn % 2 else "assistant", "content": "Where is my parcel? " * 20} for turn in range(10)]
BODY = json.dumps({"messages": HISTORY})
ANSWER = "It left our warehouse this morning and arrives tomorrow. " * 10


@dataclass
class Times:
    """Seconds of puts, and of requests without the waiting, with and without puts."""

    thumb: list[float] = field(default_factory=list)
    completion: list[float] = field(default_factory=list)
    request_with: list[float] = field(default_factory=list)
    request_without: list[float] = field(default_factory=list)


class Product:
    def __init__(self, thumbs: FeedbackQueue, seconds: float) -> None:
        self._thumbs = thumbs
        began = time.perf_counter()
        thumbs.up(thumbs.complete(HISTORY, ANSWER), "user-1")
        self.first_seconds = time.perf_counter() - began  # they start a thread each
        self._began = time.monotonic()
        self._ends_at = self._began + seconds
        self.times = Times()

    @property
    def running(self) -> bool:
        return time.monotonic() < self._ends_at

    @property
    def puts(self) -> bool:
        """Returns whether requests put something in this turn."""
        return int((time.monotonic() - self._began) / TURN_SECONDS) % 2 == 0

    def read(self) -> list[dict[str, str]]:
        messages: list[dict[str, str]] = json.loads(BODY)["messages"]
        return messages

    def write(self, number: int, messages: list[dict[str, str]], *, puts: bool) -> bytes:
        if puts:
            began = time.perf_counter()
            completion_id = self._thumbs.complete(messages, ANSWER, sampling={"temperature": 0.7})
            registered = time.perf_counter()
            self._thumbs.up(completion_id, f"user-{number}")
            ended = time.perf_counter()
            self.times.completion.append(registered - began)
            self.times.thumb.append(ended - registered)
        return json.dumps({"answer": ANSWER}).encode()

    def count(self, seconds: float, *, puts: bool) -> None:
        (self.times.request_with if puts else self.times.request_without).append(seconds)


def in_threads(product: Product) -> None:
    def caller(number: int) -> None:
        time.sleep(PACE_SECONDS * number / CALLERS)
        while product.running:
            puts, began = product.puts, time.perf_counter()
            messages = product.read()
            waited = time.perf_counter()
            time.sleep(PACE_SECONDS)
            awake = time.perf_counter()
            product.write(number, messages, puts=puts)
            product.count(time.perf_counter() - awake + waited - began, puts=puts)

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def in_tasks(product: Product) -> None:
    async def caller(number: int) -> None:
        await asyncio.sleep(PACE_SECONDS * number / CALLERS)
        while product.running:
            puts, began = product.puts, time.perf_counter()
            messages = product.read()
            waited = time.perf_counter()
            await asyncio.sleep(PACE_SECONDS)
            awake = time.perf_counter()
            product.write(number, messages, puts=puts)
            product.count(time.perf_counter() - awake + waited - began, puts=puts)

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))


def figures(product: Product, thumbs: FeedbackQueue) -> dict[str, Any]:
    times = product.times
    shown: dict[str, Any] = {"requests": len(times.request_with)}
    for name, seconds in asdict(times).items():
        for quantile, place in (("p50", 49), ("p99", 98)):
            shown[f"{name}_{quantile}_ms"] = round(1000 * quantiles(seconds, n=100)[place], 4)
    both = [one + other for one, other in zip(times.thumb, times.completion, strict=True)]
    shown["put_p99_ms"] = round(1000 * quantiles(both, n=100)[98], 4)
    shown["put_max_ms"] = round(1000 * max(both), 4)
    shown["first_put_ms"] = round(1000 * product.first_seconds, 4)
    return {**shown, **asdict(thumbs.figures)}


def main(arguments: Sequence[str]) -> int:
    url, mode, seconds = arguments
    thumbs = FeedbackQueue(url, close_seconds=1)
    product = Product(thumbs, float(seconds))
    if mode == "threads":
        in_threads(product)
    else:
        asyncio.run(in_tasks(product))
    print(json.dumps(figures(product, thumbs)))
    thumbs.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
