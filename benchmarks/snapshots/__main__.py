"""`make bench-snapshot`: snapshots of logs of several sizes, against only copying their rows to parquet.

Both read the same Postgres by ADBC, in turns, each in a process of its own; the median counts. Prompts are placed in
groups and edits compared beforehand, as a server does once per event; the time of that is a figure of its own
(`seconds_ahead`). Progress goes to stderr; a table and, in the last line, all figures as one JSON object go to stdout.
A whole run also writes them to benchmarks/results.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from math import log
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from app import services
from app.cli.stack import migrate
from benchmarks.labels.logs import fill
from benchmarks.labels.work import PROJECT, measured
from benchmarks.machine import described
from benchmarks.snapshots.work import ahead, build, copy, create, ready

RESULTS = Path(__file__).resolve().parents[1] / "results" / "snapshots.json"
SIZES, QUICK, NIGHTLY = (100_000, 1_000_000), (20_000, 100_000), 10_000_000
MOST_TIMES, MOST_MB, MOST_EXPONENT, MOST_MS = 3.0, 600, 1.1, 50


def measure(events: int, rounds: int, console: Console) -> dict[str, Any]:
    """Measures one size, on a Postgres of its own."""
    with services.temporary() as folder, services.embedded_postgres(folder / "postgres") as database:
        # Settings of this process and of its children.
        os.environ["THUMBWHEEL_DATABASE_URL"] = database.url
        os.environ["THUMBWHEEL_REDIS_URL"] = "redis://127.0.0.1:1/0"
        os.environ["THUMBWHEEL_DATA_DIR"] = str(folder / "data")
        migrate(dict(os.environ))
        console.print(f"writing {events:,} events", highlight=False)
        measured(create, events)
        fill(database.url, PROJECT, events)
        once = measured(ahead, events)
        console.print(
            f"  {once['prompts']:,.0f} prompts placed, edits compared: {once['seconds']:.1f} s", highlight=False
        )
        runs: dict[str, list[dict[str, float]]] = {"copy": [], "build": []}
        for number in range(rounds):
            runs["copy"].append(measured(copy, events))
            runs["build"].append(measured(build, events))
            latest = ", ".join(f"{name} {each[-1]['seconds']:.1f} s" for name, each in runs.items())
            console.print(f"  round {number + 1}: {latest}, {runs['build'][-1]['peak_mb']:.0f} MB", highlight=False)
        readiness = measured(ready, events)
    pairs = zip(runs["copy"], runs["build"], strict=True)
    return {
        "events": events,
        "seconds_over_copy": median(built["seconds"] / copied["seconds"] for copied, built in pairs),
        "seconds_copy": median(run["seconds"] for run in runs["copy"]),
        "seconds": median(run["seconds"] for run in runs["build"]),
        "peak_mb": max(run["peak_mb"] for run in runs["build"]),
        "seconds_ahead": once["seconds"],
        "peak_mb_ahead": once["peak_mb"],
        "readiness_ms": readiness["milliseconds"],
        "runs": runs,
        "ahead": once,
        "ready": readiness,
    }


def table(sizes: Sequence[dict[str, Any]], exponent: float | None) -> Table:
    shown = Table(
        "", *(f"{size['events']:,} events" for size in sizes), "target", title="Snapshots", title_justify="left"
    )
    rows: list[tuple[str, str, str]] = [
        ("seconds, copy", "seconds_copy", ""),
        ("seconds, snapshot", "seconds", ""),
        ("× the copy", "seconds_over_copy", f"≤ {MOST_TIMES:g} at {SIZES[-1]:,}"),
        ("peak MB", "peak_mb", f"≤ {MOST_MB}"),
        ("seconds, once per event", "seconds_ahead", ""),
        ("readiness, ms", "readiness_ms", f"≤ {MOST_MS}"),
    ]
    for what, name, bound in rows:
        shown.add_row(
            what, *(f"{size[name]:.3g}" if size[name] < 100 else f"{size[name]:.0f}" for size in sizes), bound
        )
    if exponent is not None:
        shown.add_row(
            "exponent of the growth",
            *([""] * (len(sizes) - 1)),
            f"{exponent:.2f}",
            f"≤ {MOST_EXPONENT}",
        )
    return shown


def exponent_of(small: dict[str, Any], large: dict[str, Any]) -> float:
    return log(large["seconds"] / small["seconds"]) / log(large["events"] / small["events"])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.snapshots", description="Measures snapshots.")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK[-1]:,} events at most, one round; writes no results"
    )
    parser.add_argument(
        "--nightly", action="store_true", help=f"also {NIGHTLY:,} events: needs an hour and 40 GB of disk"
    )
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    sizes = [measure(events, 1 if options.quick else 3, console) for events in (QUICK if options.quick else SIZES)]
    exponent = exponent_of(*sizes)
    if options.nightly:
        sizes.append(measure(NIGHTLY, 1, console))
    document = {
        "sizes": {str(size["events"]): size for size in sizes},
        "exponent": exponent,
        "readiness_ms": sizes[-1]["readiness_ms"],
        "machine": described("polars", "pyarrow", "numpy", "adbc-driver-postgresql"),
    }
    Console(width=None if sys.stdout.isatty() else 120).print(table(sizes, exponent))
    if not options.quick:
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
