"""`make bench-lookups`: lookups in a log of a million events over HTTP, without any other load.

No lookup may read the whole log: `NIGHTLY=1` also measures ten million events and reports the growth. Progress goes to
stderr; a table and, in the last line, all figures as one JSON object go to stdout. A whole run also writes them to
benchmarks/results.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.ingest.servers import OURS, backend, serving
from benchmarks.lookups.project import PROJECT, prepare
from benchmarks.machine import described

RESULTS = Path(__file__).resolve().parents[1] / "results" / "lookups.json"
FEW, MILLION, NIGHTLY = 100_000, 1_000_000, 10_000_000
ROUNDS = 60
MOST_MS = 50


def measure(events: int, console: Console) -> dict[str, float]:
    """Returns the 95th percentile of each lookup, in milliseconds."""
    with backend() as servers:
        os.environ |= servers.environment
        console.print(f"writing {events:,} events", highlight=False)
        # In a process of its own, as the settings of a process never change.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
            secret, seconds = processes.submit(prepare, servers.database.url, events).result()
        console.print(f"the loop's round took {seconds:.1f} s", highlight=False)
        with (
            serving(OURS, servers.environment) as api,
            httpx.Client(base_url=api.url, headers={"Authorization": f"Bearer {secret}"}, timeout=600) as client,
        ):
            return {name: p95(client, request, console, name) for name, request in lookups(client, secret).items()}


def lookups(client: httpx.Client, secret: str) -> dict[str, Callable[[int], dict[str, Any]]]:
    """Returns the lookups by name. Each gives the request of a round, for a different completion, event and actor."""
    quarantined = client.get("/v1/quarantine", params={"limit": 50}).raise_for_status().json()["items"]
    if not quarantined:
        raise RuntimeError("no actor is in quarantine")
    events = client.get("/v1/feedback", params={"limit": 200}).raise_for_status().json()["items"]
    rare = sorted({event["actor"] for event in events}, key=lambda actor: -int(actor.removeprefix("user-")))

    def event(number: int) -> dict[str, Any]:
        item: dict[str, Any] = events[number % len(events)]
        return item

    return {
        "label_explained": lambda n: {"url": f"/v1/completions/{event(n)['completion_id']}/label"},
        "receipt": lambda n: {"url": f"/v1/feedback/{event(n)['event_id']}/receipt"},
        "quarantine_page": lambda _: {"url": "/v1/quarantine", "params": {"limit": 50}},
        "quarantined_actor": lambda n: {
            "url": "/v1/quarantine/actor",
            "params": {"actor": quarantined[n % len(quarantined)]["actor"]},
        },
        "approvals": lambda _: {"url": "/v1/approvals"},
        "status_page": lambda _: {"url": "/", "params": {"project": PROJECT}, "auth": ("me", secret)},
        "feedback_of_a_rare_actor": lambda n: {"url": "/v1/feedback", "params": {"actor": rare[n % 20]}},
    }


def p95(client: httpx.Client, request: Callable[[int], dict[str, Any]], console: Console, name: str) -> float:
    milliseconds = []
    for number in range(ROUNDS):
        began = time.perf_counter()
        client.request("GET", **request(number)).raise_for_status()
        milliseconds.append(1000 * (time.perf_counter() - began))
    percentile = quantiles(milliseconds[1:], n=20)[-1]  # the first request fills caches
    console.print(f"{name}: p95 {percentile:.1f} ms, the slowest {max(milliseconds):.1f} ms", highlight=False)
    return percentile


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lookups", description="Measures the time of lookups.")
    parser.add_argument("--quick", action="store_true", help=f"{FEW:,} events; writes no results")
    parser.add_argument("--nightly", action="store_true", help=f"also {NIGHTLY:,} events")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    sizes = [FEW] if options.quick else [MILLION, NIGHTLY] if options.nightly else [MILLION]
    by_size = {size: measure(size, console) for size in sizes}
    figures: dict[str, Any] = {f"{name}_ms": round(value, 2) for name, value in by_size[sizes[0]].items()}
    if options.nightly:
        figures |= {f"{name}_growth": by_size[NIGHTLY][name] / by_size[MILLION][name] for name in by_size[MILLION]}
    table = Table("", *(f"{size:,} events, ms" for size in sizes), title="Lookups, p95", title_justify="left")
    for name in by_size[sizes[0]]:
        table.add_row(name.replace("_", " "), *(f"{by_size[size][name]:.1f}" for size in sizes))
    document = {"events": sizes[0], **figures, "bound_ms": MOST_MS, "machine": described("fastapi", "sqlalchemy")}
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if not options.quick:
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
