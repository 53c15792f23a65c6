"""`make bench-export`: an export of a log of a million events, and its import into another project, without any other
load.

Progress goes to stderr; a table and, in the last line, all figures as one JSON object go to stdout. A whole run also
writes them to benchmarks/results.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.export.project import COPY, PROJECT, prepare
from benchmarks.ingest.servers import OURS, Served, backend, serving
from benchmarks.machine import described

RESULTS = Path(__file__).resolve().parents[1] / "results" / "export.json"
FEW, MILLION = 100_000, 1_000_000
WORK: dict[str, Sequence[str]] = {
    "events": ("export", "{folder}/events", "--only", "events,completions"),
    "labels": ("export", "{folder}/labels", "--only", "labels"),
    "parquet": ("export", "{folder}/parquet", "--only", "events", "--format", "parquet"),
    "import": ("import", "{folder}/events", "--project", COPY),
}


def measure(api: Served, environment: Mapping[str, str], arguments: Sequence[str]) -> dict[str, float]:
    """Runs a command; returns its seconds, and the peak of memory of it and of the server, in megabytes."""
    Path(f"/proc/{api.process.pid}/clear_refs").write_text("5")  # the peak begins again
    began = time.perf_counter()
    command = [sys.executable, "-m", "app.cli.main", *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    of_client = 0.0
    while process.poll() is None:
        of_client = max(of_client, _peak_megabytes(process.pid))
        time.sleep(0.05)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed")
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "client_mb": of_client, "server_mb": _peak_megabytes(api.process.pid)}


def _peak_megabytes(pid: int) -> float:
    """Returns the peak of a process's memory; 0 for one that has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description="Measures exports.")
    parser.add_argument("--quick", action="store_true", help=f"{FEW:,} events; writes no results")
    parser.add_argument("--events", type=int, help="this number of events; writes no results")
    options = parser.parse_args(arguments)
    events = options.events or (FEW if options.quick else MILLION)
    console = Console(stderr=True)
    figures: dict[str, Any] = {}
    table = Table("", "seconds", "client, MB", "server, MB", title=f"{events:,} events", title_justify="left")
    with backend() as servers, TemporaryDirectory() as folder:
        os.environ |= servers.environment
        console.print(f"writing {events:,} events", highlight=False)
        # In a process of its own, as the settings of a process never change.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
            secret = processes.submit(prepare, servers.database.url, events).result()
        with serving(OURS, servers.environment) as api:
            of_client = {"THUMBWHEEL_URL": api.url, "THUMBWHEEL_API_KEY": secret, "THUMBWHEEL_PROJECT": PROJECT}
            for name, command in WORK.items():
                filled = [argument.format(folder=folder) for argument in command]
                result = measure(api, servers.environment | of_client, filled)
                console.print(f"{name}: {result['seconds']:.1f} s", highlight=False)
                table.add_row(name, *(f"{value:,.1f}" for value in result.values()))
                figures |= {f"{name}_{unit}": round(value, 1) for unit, value in result.items()}
        figures["events_gb"] = round((Path(folder) / "events" / "events.jsonl").stat().st_size / 1e9, 3)
    document = {"events": events, **figures, "machine": described("fastapi", "sqlalchemy")}
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if events == MILLION:
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
