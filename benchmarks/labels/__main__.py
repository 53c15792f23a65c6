"""`make bench-labels`: a log of a million events resolved by the default policy, beside merely reading its rows.

Both by ADBC out of the same Postgres, in turns, each in a process of its own; the median counts. Edits are compared
with their originals before: a server does so once for each edit. How long the first time takes, with all of that, is
told apart (`seconds_first`).

Tells on stderr how it goes; on stdout come a table and, in the last line, all figures as one JSON object, which a whole
run leaves in benchmarks/results too.
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
    console.print(f"first, with all edits compared: {once['seconds']:.1f} s", highlight=False)
    runs: dict[str, list[dict[str, float]]] = {"read": [], "resolve": [], "guard": []}
    for number in range(rounds):
        for name, work in (("read", read), ("resolve", resolve), ("guard", guard)):
            runs[name].append(measured(work, events))
        told = ", ".join(f"{name} {each[-1]['seconds']:.2f} s" for name, each in runs.items())
        console.print(f"round {number + 1}: {told}", highlight=False)
    pairs = list(zip(runs["read"], runs["resolve"], runs["guard"], strict=True))
    return {
        "events": events,
        "seconds_over_read": median(two["seconds"] / one["seconds"] for one, two, _ in pairs),
        "seconds_over_read_guarded": median(three["seconds"] / one["seconds"] for one, _, three in pairs),
        "seconds_first": once["seconds"],
        "peak_mb": max(run["peak_mb"] for run in runs["resolve"]),
        "peak_mb_guarded": max(run["peak_mb"] for run in runs["guard"]),
        "runs": runs,
    }


def table(figures: dict[str, Any]) -> Table:
    shown = Table("", "seconds", "over reading", "peak MB", "to reach", title="Labels", title_justify="left")
    for name, what, ratio, peak in (
        ("read", "every row by ADBC, nothing else", 1.0, None),
        ("resolve", "labels, weights, reasons", figures["seconds_over_read"], figures["peak_mb"]),
        ("guard", "and who is in quarantine", figures["seconds_over_read_guarded"], figures["peak_mb_guarded"]),
    ):
        seconds = median(run["seconds"] for run in figures["runs"][name])
        bound = f"≤ 1.0, ≤ {MOST_MB} MB" if name == "resolve" else ""
        shown.add_row(what, f"{seconds:.2f}", f"{ratio:.2f}", f"{peak:.0f}" if peak else "", bound)
    return shown


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labels", description="What labels cost.")
    parser.add_argument("--quick", action="store_true", help=f"{FEW:,} events, once; nothing is kept")
    asked = parser.parse_args(arguments)
    events = FEW if asked.quick else EVENTS
    console = Console(stderr=True)
    with services.temporary() as folder, services.embedded_postgres(folder / "postgres") as database:
        # The settings of this process and of those that it starts.
        os.environ["THUMBWHEEL_DATABASE_URL"] = database.url
        os.environ["THUMBWHEEL_REDIS_URL"] = "redis://127.0.0.1:1/0"
        os.environ["THUMBWHEEL_DATA_DIR"] = str(folder / "data")
        migrate(dict(os.environ))
        with transaction() as session:
            project_setup.create(session, wire.NewProject(project=PROJECT, base_model="/models/base"))
        console.print(f"{events:,} events are written", highlight=False)
        fill(database.url, PROJECT, events)
        figures = measure(events, 1 if asked.quick else 5, console)
    document = figures | {"machine": described("polars", "pyarrow", "numpy", "rapidfuzz", "adbc-driver-postgresql")}
    Console(width=None if sys.stdout.isatty() else 120).print(table(figures))
    if not asked.quick:
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
