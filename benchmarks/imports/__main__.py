"""`make bench-import`: the rate and the memory of `thumbwheel import` and of an uploaded import, against the batch
endpoint with ready bodies.

Each sends events of about 1.4 kB to the same API, one after the other, and the endpoint is measured before and after.
The latency of single events is measured on the idle API and while the server imports the uploaded file. Progress goes
to stderr; in the last line, all figures as one JSON object go to stdout. Those of a file of 1 GB are also written to
benchmarks/results.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import threading
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

RESULTS = Path(__file__).resolve().parents[1] / "results" / "imports.json"
#: Smaller files are for a quick look: their figures are not kept.
KEPT_MEGABYTES = 1000
BATCH = 500
#: Single events a second while latency is measured.
PROBES_PER_SECOND = 50
WORDS = [f"w{number:x}" for number in range(5000)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-import", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=KEPT_MEGABYTES, help="size of the imported file")
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
        idle = Probes(api.url, servers.key, "idle")
        with idle:
            time.sleep(10)
        other = Path(folder) / "other.jsonl"
        more = write(other, options.megabytes, seed=3)
        busy = Probes(api.url, servers.key, "busy")
        second = uploaded(other, api.url, environment, busy)
        console.print(f"uploaded: {more / second['seconds']:,.0f} events a second, {second['peak_mib']:.0f} MiB")
        console.print(f"single events: {idle} on an idle API, {busy} beside the import")
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
        "uploaded": {
            "upload_seconds": round(second["upload_seconds"], 2),
            "events_per_second": round(more / second["seconds"]),
            "ratio": round(more / second["seconds"] / endpoint, 2),
            "peak_mib": round(second["peak_mib"]),
            "cpu_us_per_event": round(1e6 * second["cpu_seconds"] / more),
            "stored": second["stored"],
        },
        "single_event_ms": {"idle": idle.figures(), "beside_the_import": busy.figures()},
        "machine": described("httpx", "pydantic"),
    }
    if options.megabytes >= KEPT_MEGABYTES:
        RESULTS.write_text(json.dumps(figures, indent=1) + "\n")
    sys.stdout.write(json.dumps(figures) + "\n")


def write(file: Path, megabytes: int, *, seed: int = 0) -> int:
    """Writes rows of TRL's shape until the file has this size. Returns their number."""
    with file.open("w") as out:
        for number, row in enumerate(rows_of(seed), start=1):
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


def uploaded(file: Path, url: str, environment: dict[str, str], probes: "Probes") -> dict[str, float]:
    """Uploads the file and has a process import it, as a worker would. Returns the figures of that process."""
    headers = {"Authorization": f"Bearer {environment['THUMBWHEEL_API_KEY']}"}
    with httpx.Client(base_url=url, headers=headers, params={"project": PROJECT}, timeout=600) as client:
        begun = time.perf_counter()
        with file.open("rb") as content:
            created = client.post("/v1/imports", content=content).raise_for_status().json()
        upload_seconds = time.perf_counter() - begun
        with probes:
            begun = time.perf_counter()
            command = [sys.executable, "-m", "app.feedback.import_jobs", created["id"], "benchmark"]
            process = subprocess.Popen(command, env=environment)
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        report = client.get(f"/v1/imports/{created['id']}").raise_for_status().json()
    assert report["state"] == "done", report
    return {
        "upload_seconds": upload_seconds,
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / 1024,
        "stored": report["counts"]["stored"],
    }


class Probes:
    """Sends single events at a steady rate during the block, and keeps the milliseconds that each took."""

    def __init__(self, url: str, key: str, name: str) -> None:
        self._url, self._key, self._name = url, key, name
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.milliseconds: list[float] = []

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def __str__(self) -> str:
        return f"p50 {self.figures()['p50']} ms, p99 {self.figures()['p99']} ms"

    def figures(self) -> dict[str, float]:
        """Returns median and 99th percentile."""
        cuts = statistics.quantiles(self.milliseconds, n=100)
        return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}

    def _work(self) -> None:
        headers = {"Authorization": f"Bearer {self._key}"}
        with httpx.Client(base_url=self._url, headers=headers, params={"project": PROJECT}, timeout=60) as client:
            for number, row in enumerate(rows_of(4)):
                body = body_of(row, 4, number).replace(b"batch-4", f"{self._name}-4".encode())
                begun = time.perf_counter()
                client.post(
                    "/v1/feedback", content=body, headers={"Content-Type": "application/json"}
                ).raise_for_status()
                self.milliseconds.append(1000 * (time.perf_counter() - begun))
                if self._ended.wait(1 / PROBES_PER_SECOND):
                    return


if __name__ == "__main__":
    main()
