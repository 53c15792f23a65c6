"""`make bench-import`: the rate and the memory of `thumbwheel import`, against the batch endpoint with ready bodies.

Both send events of about 1.4 kB over one connection to the same API, one after the other, and the endpoint is measured
before and after. Progress goes to stderr; a table and, in the last line, all figures as one JSON object go to stdout.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from rich.console import Console

from benchmarks.ingest.servers import OURS, PROJECT, backend, serving
from benchmarks.machine import described

BATCH = 500
WORDS = [f"w{number:x}" for number in range(5000)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-import", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the imported file")
    parser.add_argument("--batches", type=int, default=60, help="batches of 500 of each measurement of the endpoint")
    options = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    with TemporaryDirectory() as folder, backend() as servers, serving(OURS, servers.environment) as api:
        file = Path(folder) / "rows.jsonl"
        rows = write(file, options.megabytes)
        console.print(f"{rows:,} rows in {options.megabytes} MB")
        environment = servers.environment | {
            "THUMBWHEEL_URL": api.url,
            "THUMBWHEEL_API_KEY": servers.key,
            "THUMBWHEEL_PROJECT": PROJECT,
        }
        before = endpoint_rate(api.url, servers.key, options.batches, seed=1)
        console.print(f"the batch endpoint: {before:,.0f} events a second")
        first = imported(file, environment)
        console.print(f"the import: {rows / first['seconds']:,.0f} events a second, {first['peak_mib']:.0f} MiB")
        after = endpoint_rate(api.url, servers.key, options.batches, seed=2)
        console.print(f"the batch endpoint: {after:,.0f} events a second")
    endpoint = (before + after) / 2
    figures: dict[str, Any] = {
        "rows": rows,
        "megabytes": options.megabytes,
        "import_events_per_second": round(rows / first["seconds"]),
        "endpoint_events_per_second": [round(before), round(after)],
        "ratio": round(rows / first["seconds"] / endpoint, 2),
        "peak_mib": round(first["peak_mib"]),
        "import_cpu_us_per_event": round(1e6 * first["cpu_seconds"] / rows),
        "stored": first["stored"],
        "machine": described("httpx", "pydantic"),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def write(file: Path, megabytes: int) -> int:
    """Writes rows of TRL's shape until the file has this size. Returns their number."""
    with file.open("w") as out:
        for number, row in enumerate(rows_of(0), start=1):
            out.write(json.dumps(row) + "\n")
            if out.tell() >= megabytes * 1e6:
                return number
    raise AssertionError("the rows have no end")


def rows_of(seed: int) -> Iterator[dict[str, Any]]:
    source = random.Random(seed)
    number = 0
    while True:
        number += 1
        yield {
            "prompt": [{"role": "user", "content": " ".join(source.choices(WORDS, k=100))}],
            "completion": [{"role": "assistant", "content": " ".join(source.choices(WORDS, k=140))}],
            "label": source.random() < 0.7,
            "user_id": f"user-{number % 5000}",
            "timestamp": f"2026-03-01T10:{number // 60 % 60:02}:{number % 60:02}Z",
        }


def endpoint_rate(url: str, key: str, batches: int, *, seed: int) -> float:
    """Returns the events a second of batches whose bodies are ready before the clock starts."""
    rows = rows_of(seed)
    bodies = [b"\n".join(body_of(row, seed, number) for number, row in enumerate(islice(rows, BATCH), part * BATCH))
              for part in range(batches)]  # fmt: skip
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    with httpx.Client(base_url=url, headers=headers, params={"project": PROJECT}, timeout=60) as client:
        begun = time.perf_counter()
        for body in bodies:
            receipt = client.post("/v1/feedback/batch", content=body).raise_for_status().json()
            assert receipt["stored"] == BATCH, receipt
        return batches * BATCH / (time.perf_counter() - begun)


def body_of(row: dict[str, Any], seed: int, number: int) -> bytes:
    return json.dumps(
        {
            "event_id": f"batch-{seed}-{number}",
            "completion_id": f"completion-{seed}-{number}",
            "actor": row["user_id"],
            "prompt": row["prompt"],
            "completion": row["completion"][0]["content"],
            "signal": {"kind": "thumbs", "value": "up" if row["label"] else "down"},
            "occurred_at": row["timestamp"],
        }
    ).encode()


def imported(file: Path, environment: dict[str, str]) -> dict[str, float]:
    """Imports the file in a process of its own. Returns its seconds, its peak of memory and the number of events."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli.main", "import", str(file)], env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    [outcome] = json.loads(process.stdout.read())
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, outcome
    return {
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / 1024,
        "stored": outcome["stored"],
    }


if __name__ == "__main__":
    main()
