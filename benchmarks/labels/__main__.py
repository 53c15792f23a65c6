"""`make bench-labels`: resolving a log of a million events by the default policy, against only reading its rows.

Both read the same Postgres by ADBC, in turns, each in a process of its own; the median counts. Edits are compared with
their originals beforehand, as a server does once per edit. The time of the first reading, which includes these
comparisons, is a figure of its own (`seconds_first`).

Progress goes to stderr; a table and, in the last line, all figures as one JSON object go to stdout. A whole run also
writes them to benchmarks/results.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table
from thumbwheel import wire

from app import services
from app.cli.stack import migrate
from app.database import transaction
from app.project_setup import service as project_setup
from benchmarks.labels.logs import fill
from benchmarks.labels.work import PROJECT, compare, guard, measured, read, resolve
from benchmarks.machine import described

RESULTS = Path(__file__).resolve().parents[1] / "results" / "labels.json"
EVENTS, FEW = 1_000_000, 100_000
MOST_MB = 400


def measure(events: int, rounds: int, console: Console) -> dict[str, Any]:
    once = measured(compare, events)
    console.print(f"first reading, with all edits compared: {once['seconds']:.1f} s", highlight=False)
    runs: dict[str, list[dict[str, float]]] = {"read": [], "resolve": [], "guard": []}
    for number in range(rounds):
        for name, work in (("read", read), ("resolve", resolve), ("guard", guard)):
            runs[name].append(measured(work, events))
        latest = ", ".join(f"{name} {each[-1]['seconds']:.2f} s" for name, each in runs.items())
        console.print(f"round {number + 1}: {latest}", highlight=False)
    by_round = list(zip(runs["read"], runs["resolve"], runs["guard"], strict=True))
    return {
        "events": events,
        "seconds_over_read": median(resolved["seconds"] / read_only["seconds"] for read_only, resolved, _ in by_round),
        "seconds_over_read_guarded": median(
            guarded["seconds"] / read_only["seconds"] for read_only, _, guarded in by_round
        ),
        "seconds_first": once["seconds"],
        "peak_mb": max(run["peak_mb"] for run in runs["resolve"]),
        "peak_mb_guarded": max(run["peak_mb"] for run in runs["guard"]),
        "runs": runs,
    }


def table(figures: dict[str, Any]) -> Table:
    shown = Table("", "seconds", "× reading", "peak MB", "target", title="Labels", title_justify="left")
    for name, what, ratio, peak in (
        ("read", "only reading every row by ADBC", 1.0, None),
        ("resolve", "labels, weights, reasons", figures["seconds_over_read"], figures["peak_mb"]),
        ("guard", "labels and quarantine", figures["seconds_over_read_guarded"], figures["peak_mb_guarded"]),
    ):
        seconds = median(run["seconds"] for run in figures["runs"][name])
        bound = f"≤ 1.0, ≤ {MOST_MB} MB" if name == "resolve" else ""
        shown.add_row(what, f"{seconds:.2f}", f"{ratio:.2f}", f"{peak:.0f}" if peak else "", bound)
    return shown


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labels", description="Measures the cost of labels.")
    parser.add_argument("--quick", action="store_true", help=f"{FEW:,} events and one round; writes no results")
    options = parser.parse_args(arguments)
    events = FEW if options.quick else EVENTS
    console = Console(stderr=True)
    with services.temporary() as folder, services.embedded_postgres(folder / "postgres") as database:
        # Settings of this process and of its children.
        os.environ["THUMBWHEEL_DATABASE_URL"] = database.url
        os.environ["THUMBWHEEL_REDIS_URL"] = "redis://127.0.0.1:1/0"
        os.environ["THUMBWHEEL_DATA_DIR"] = str(folder / "data")
        migrate(dict(os.environ))
        with transaction() as session:
            project_setup.create(session, wire.NewProject(project=PROJECT, base_model="/models/base", suites=[]))
        console.print(f"writing {events:,} events", highlight=False)
        fill(database.url, PROJECT, events)
        figures = measure(events, 1 if options.quick else 5, console)
    document = figures | {"machine": described("polars", "pyarrow", "numpy", "rapidfuzz", "adbc-driver-postgresql")}
    Console(width=None if sys.stdout.isatty() else 120).print(table(figures))
    if not options.quick:
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
