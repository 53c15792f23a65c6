"""`make bench-gateway`: what the gateway adds to streamed answers, against the same calls without it.

Fifty callers stream from a model server that costs nothing, in turns directly and through the gateway, which registers
every answer with token ids and log-probs in a Postgres with fsync on. Progress goes to stderr; a table and, in the last
line, all figures as one JSON object go to stdout. A whole run also writes them to benchmarks/results.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
import uvloop
from rich.console import Console
from rich.table import Table

from app import services
from benchmarks.gateway.project import SEEN, prepare
from benchmarks.gateway.streams import Times, measure
from benchmarks.ingest.servers import PROJECT, Served, backend, serving
from benchmarks.machine import described

RESULTS = Path(__file__).resolve().parents[1] / "results" / "gateway.json"
APPLICATION = "app.gateway.main:create_tuned_gateway"
CALLERS, TOKENS, PACE = 50, 100, 0.02
ROUNDS, ANSWERS = 4, 2
BOUND_MS = 3.0


@contextmanager
def upstream(tokens: int, *, apart: bool) -> Iterator[str]:
    port = services.free_port()
    command = [sys.executable, "-m", "benchmarks.gateway.upstream", str(port), str(tokens), str(PACE)]
    process = subprocess.Popen(services.tethered([*command, *(["--apart"] if apart else [])]))
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=30)


async def interleaved(
    direct: str, gateway: str, key: str, callers: int, rounds: int, console: Console
) -> dict[str, Times]:
    """Returns the times of both ways, measured in turns, after a round that is not counted."""
    ways = {"direct": (direct, SEEN["model"]), "gateway": (gateway, PROJECT)}
    times = {name: Times() for name in ways}
    for number in range(rounds + 1):
        for name, (url, model) in ways.items():
            measured = await measure(url, model, key, callers=callers, answers=ANSWERS, spread=PACE * TOKENS)
            if number:
                times[name].first += measured.first
                times[name].token += measured.token
                times[name].whole += measured.whole
                times[name].seconds += measured.seconds
                times[name].tokens += len(measured.whole) * TOKENS
        console.print(f"round {number} of {rounds}", highlight=False)
    return times


def figures(times: dict[str, Times], gateway: Served, seconds_per_token: float) -> dict[str, Any]:
    direct, through = times["direct"], times["gateway"]
    shown: dict[str, Any] = {}
    for what in ("first", "token", "whole"):
        before, after = getattr(direct, what), getattr(through, what)
        for name, at in (("p50", 49), ("p95", 94)):
            one, other = 1000 * quantiles(before, n=100)[at], 1000 * quantiles(after, n=100)[at]
            shown[f"{what}_{name}_direct_ms"] = round(one, 2)
            shown[f"{what}_{name}_added_ms"] = round(other - one, 2)
    return {
        **shown,
        "answers": len(through.whole),
        "tokens_per_second": round(through.tokens / through.seconds),
        "gateway_microseconds_per_token": round(1e6 * seconds_per_token, 1),
        "gateway_resident_megabytes": round(gateway.resident_bytes() / 1e6),
    }


def run(callers: int, rounds: int, *, apart: bool, console: Console) -> dict[str, Any]:
    with backend() as servers:
        os.environ |= servers.environment
        with upstream(TOKENS, apart=apart) as direct:
            # In a process of its own, as the settings of a process never change.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
                key = processes.submit(prepare, direct).result()
            with serving(APPLICATION, servers.environment) as gateway:
                url = f"{gateway.url}/v1"
                idle = gateway.cpu_seconds()
                times = uvloop.run(interleaved(direct, url, key, callers, rounds, console))
                all_tokens = (rounds + 1) * callers * ANSWERS * TOKENS
                shown = figures(times, gateway, (gateway.cpu_seconds() - idle) / all_tokens)
                headers = {"Authorization": f"Bearer {key}"}
                written = lambda: httpx.get(f"{url}/gateway", headers=headers).json()  # noqa: E731
                services.wait_until(lambda: written()["waiting"] == 0, 60)
                after = written()
    return {**shown, "registered": after["registered"], "unregistered": after["unregistered"]}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description="Measures what the gateway adds.")
    parser.add_argument("--quick", action="store_true", help="one round; writes no results")
    parser.add_argument("--callers", type=int, default=CALLERS, help="streams at a time (default: %(default)s)")
    parser.add_argument("--note", default="", help="about the machine, kept with the results")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    rounds = 1 if options.quick else ROUNDS
    console.print("streams that write at their own times", highlight=False)
    apart = run(options.callers, rounds, apart=True, console=console)
    console.print("streams that all write at once, after each step of the batch", highlight=False)
    together = run(options.callers, rounds, apart=False, console=console)
    table = Table("", "apart", "in steps", title="Added by the gateway", title_justify="left")
    for name in apart:
        table.add_row(name.replace("_", " "), f"{apart[name]:g}", f"{together[name]:g}")
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    document = {
        "callers": options.callers, "tokens": TOKENS, "pace_seconds": PACE, "apart": apart, "in_steps": together,
        "bound_ms": BOUND_MS, "note": options.note, "machine": described("aiohttp", "uvicorn", "uvloop", "msgspec"),
    }  # fmt: skip
    if not options.quick and options.callers == CALLERS:
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
