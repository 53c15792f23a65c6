"""`make bench-snapshot`: snapshots of logs of several sizes, beside merely copying their rows to parquet.

Both by ADBC out of the same Postgres, in turns, each in a process of its own; the median counts. Before, prompts are
placed in groups and edits compared, as a server does once for each event: how long that takes is told apart
(`seconds_ahead`). Tells on stderr how it goes; on stdout come a table and, in the last line, all figures as one JSON
object, which a whole run leaves in benchmarks/results too.
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
    """One size, on a Postgres of its own."""
    with services.temporary() as folder, services.embedded_postgres(folder / "postgres") as database:
        # The settings of this process and of those that it starts.
        os.environ["THUMBWHEEL_DATABASE_URL"] = database.url
        os.environ["THUMBWHEEL_REDIS_URL"] = "redis://127.0.0.1:1/0"
        os.environ["THUMBWHEEL_DATA_DIR"] = str(folder / "data")
        migrate(dict(os.environ))
        console.print(f"{events:,} events are written", highlight=False)
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
            told = ", ".join(f"{name} {each[-1]['seconds']:.1f} s" for name, each in runs.items())
            console.print(f"  round {number + 1}: {told}, {runs['build'][-1]['peak_mb']:.0f} MB", highlight=False)
        asked = measured(ready, events)
    pairs = zip(runs["copy"], runs["build"], strict=True)
    return {
        "events": events,
        "seconds_over_copy": median(made["seconds"] / copied["seconds"] for copied, made in pairs),
        "seconds_copy": median(run["seconds"] for run in runs["copy"]),
        "seconds": median(run["seconds"] for run in runs["build"]),
        "peak_mb": max(run["peak_mb"] for run in runs["build"]),
        "seconds_ahead": once["seconds"],
        "peak_mb_ahead": once["peak_mb"],
        "readiness_ms": asked["milliseconds"],
        "runs": runs,
        "ahead": once,
        "ready": asked,
    }


def table(sizes: Sequence[dict[str, Any]], exponent: float | None) -> Table:
    shown = Table(
        "", *(f"{size['events']:,} events" for size in sizes), "to reach", title="Snapshots", title_justify="left"
    )
    rows: list[tuple[str, str, str]] = [
        ("seconds, merely copied", "seconds_copy", ""),
        ("seconds, a snapshot", "seconds", ""),
        ("times as long as the copy", "seconds_over_copy", f"≤ {MOST_TIMES:g} at {SIZES[-1]:,}"),
        ("MB at the peak", "peak_mb", f"≤ {MOST_MB}"),
        ("once for each event, seconds", "seconds_ahead", ""),
        ("readiness, ms", "readiness_ms", f"≤ {MOST_MS}"),
    ]
    for what, name, bound in rows:
        shown.add_row(
            what, *(f"{size[name]:.3g}" if size[name] < 100 else f"{size[name]:.0f}" for size in sizes), bound
        )
    if exponent is not None:
        shown.add_row(
            "time grows as events to the power of", *([""] * (len(sizes) - 1)), f"{exponent:.2f}", f"≤ {MOST_EXPONENT}"
        )
    return shown


def exponent_of(small: dict[str, Any], large: dict[str, Any]) -> float:
    return log(large["seconds"] / small["seconds"]) / log(large["events"] / small["events"])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.snapshots", description="What snapshots cost.")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK[-1]:,} events at most, once; nothing is kept")
    parser.add_argument(
        "--nightly", action="store_true", help=f"{NIGHTLY:,} events, too: needs an hour and 40 GB of disk"
    )
    asked = parser.parse_args(arguments)
    console = Console(stderr=True)
    sizes = [measure(events, 1 if asked.quick else 3, console) for events in (QUICK if asked.quick else SIZES)]
    exponent = exponent_of(*sizes)
    if asked.nightly:
        sizes.append(measure(NIGHTLY, 1, console))
    document = {
        "sizes": {str(size["events"]): size for size in sizes},
        "exponent": exponent,
        "readiness_ms": sizes[-1]["readiness_ms"],
        "machine": described("polars", "pyarrow", "numpy", "adbc-driver-postgresql"),
    }
    Console(width=None if sys.stdout.isatty() else 120).print(table(sizes, exponent))
    if not asked.quick:
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
