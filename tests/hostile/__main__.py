"""`make hostile`: sends hostile requests to every operation of the API, measures their cost, prints JSON at the end."""

import argparse
import asyncio
import json
import random
import sys
import time

import httpx

from tests.hostile import server
from tests.hostile.crowd import crowd
from tests.hostile.inputs import operations_of, requests_to
from tests.hostile.sending import Counts, send_all

MUST_BE_ZERO = ("server_errors", "hangs", "undocumented")
PLAIN = {"completion_id": "c", "actor": "a", "signal": {"kind": "thumbs", "value": "up"}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--requests", type=int, default=12_000, help="requests at most, drawn by the seed")
    parser.add_argument("--seconds", type=float, default=200, help="seconds after which no new request is sent")
    parser.add_argument("--readers", type=int, default=1000, help="of the crowd that asks what is live")
    chosen = parser.parse_args()
    with server.embedded() as target:
        figures = asyncio.run(attack(target, chosen.seed, chosen.requests, chosen.seconds))
        crowded = asyncio.run(crowd(target.url, target.key, server.PROJECT, readers=chosen.readers))
    figures["hangs"] += crowded.pop("hangs")
    figures["server_errors"] += crowded.pop("errors_5xx_other")
    print(json.dumps({**figures, **crowded}))
    return int(any(figures[name] for name in MUST_BE_ZERO))


async def attack(target: server.Target, seed: int, most: int, seconds: float) -> dict[str, float]:
    """Sends up to `most` hostile requests and returns the counts of their answers."""
    idle = warm_up(target)
    document = httpx.get(f"{target.url}/openapi.json", timeout=30).json()
    rng = random.Random(seed)
    requests = [sent for operation in operations_of(document) for sent in requests_to(operation, target.key, rng)]
    rng.shuffle(requests)
    requests = requests[:most]
    began = time.monotonic()
    in_time = (sent for sent in requests if time.monotonic() - began < seconds)
    counts = await send_all(target, in_time, lambda counts: progress(counts, len(requests), began))
    if sys.stderr.isatty():
        print(file=sys.stderr)
    for example in counts.examples:
        print(example)
    print("statuses:", dict(sorted(counts.statuses.items())))
    figures: dict[str, float] = {
        "requests": counts.requests,
        "server_errors": counts.server_errors,
        "hangs": counts.hangs,
        "undocumented": counts.undocumented,
        "unavailable": counts.unavailable,
        "peak_mb_over_idle": round(target.peak_mb() - idle, 1),
    }
    return figures


def warm_up(target: server.Target) -> float:
    """Returns the memory of the server in MB after a plain event, and starts to measure its peak."""
    answer = httpx.post(
        f"{target.url}/v1/feedback?project={server.PROJECT}",
        json=PLAIN,
        headers={"Authorization": f"Bearer {target.key}"},
        timeout=30,
    )
    assert answer.status_code in (200, 201), answer.text
    httpx.get(f"{target.url}/openapi.json", timeout=30)
    target.forget_peak()
    return target.memory_mb()


def progress(counts: Counts, total: int, began: float) -> None:
    if sys.stderr.isatty() and counts.requests % 50 == 0:
        left = (time.monotonic() - began) / counts.requests * (total - counts.requests)
        print(f"\rsending {counts.requests:,} of {total:,}, {left:.0f} s left ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
