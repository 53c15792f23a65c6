"""`make bench-ingest`: single events, batches and memory, as ratios to other servers measured in the same run.

Clients, API and Postgres (fsync on) share this machine's cores. The servers take turns round by round, and the median
round counts. Progress goes to stderr; a table and, in the last line, all figures as one JSON object go to stdout. A
whole run also writes them to benchmarks/results; --quick measures less and writes nothing. Exit codes: 0 done, 1 a
request got an unexpected answer.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.ingest.bodies import Bodies
from benchmarks.ingest.copying import Copying
from benchmarks.ingest.load import Load, close, closed, connect, median, message, steady
from benchmarks.ingest.servers import OURS, PEERS, PROFILED, Backend, Served, backend, profile_of, serving
from benchmarks.machine import described

RESULTS = Path(__file__).resolve().parents[1] / "results" / "ingest.json"
CLIENTS = 64
BATCH = 500
BATCHES, LINES = "/v1/feedback/batch", "application/x-ndjson"
BATCH_CLIENTS = 4
#: The share of the load, at its beginning, that is a warm-up for the memory.
WARM_SHARE = 0.2


@dataclass(frozen=True)
class Effort:
    rounds: int
    seconds: float
    batches: int
    memory_seconds: float
    memory_every: float


WHOLE = Effort(rounds=5, seconds=8, batches=60, memory_seconds=600, memory_every=5)
QUICK = Effort(rounds=3, seconds=4, batches=24, memory_seconds=30, memory_every=1)


class Wrong(Exception):
    """A request got an unexpected answer."""


class Bench:
    """One run: its servers, and a supply of events of which each request takes its own."""

    def __init__(self, effort: Effort, servers: Backend, console: Console) -> None:
        self.effort = effort
        self.servers = servers
        self.console = console
        self.bodies = Bodies()
        self.numbers = count()

    async def single(self, served: Served, *, seconds: float | None = None) -> Load:
        load = await closed(served.url, self._post, clients=CLIENTS, seconds=seconds or self.effort.seconds)
        return _all(load, 201)

    async def at(self, served: Served, per_second: float) -> Load:
        load = await steady(served.url, self._post, clients=CLIENTS, seconds=self.effort.seconds, per_second=per_second)
        return _all(load, 201)

    async def batches(self, served: Served) -> float:
        """Returns the events per second through the batch endpoint."""
        messages = [
            message(BATCHES, self.bodies.lines(self._skip(BATCH), BATCH), key=self.servers.key, kind=LINES)
            for _ in range(self.effort.batches)
        ]
        waiting = iter(messages)
        connections = [await connect(served.url) for _ in range(BATCH_CLIENTS)]
        began = time.perf_counter()

        async def client(number: int) -> None:
            for sent in waiting:
                status, body = await connections[number].request(sent)
                if status != 200:
                    raise Wrong(f"a batch got status {status}, expected 200: {body[:300]!r}")

        await asyncio.gather(*map(client, range(BATCH_CLIENTS)))
        per_second = len(messages) * BATCH / (time.perf_counter() - began)
        await close(connections)
        return per_second

    async def copied(self, copying: Copying) -> float:
        """Returns the rows per second by COPY."""
        total = self.effort.batches * BATCH
        return await copying.rows_per_second(copying.rows(self.bodies, self._skip(total), total))

    async def memory(self, served: Served, per_second: float) -> list[tuple[float, float]]:
        """Returns samples (seconds, MB) of the API process's memory under a steady load."""
        samples: list[tuple[float, float]] = []
        began = time.perf_counter()
        loading = asyncio.create_task(
            steady(served.url, self._post, clients=CLIENTS, seconds=self.effort.memory_seconds, per_second=per_second)
        )
        while not loading.done():
            samples.append((time.perf_counter() - began, served.resident_bytes() / 1e6))
            await asyncio.wait([loading], timeout=self.effort.memory_every)
        _all(await loading, 201)
        return samples

    async def profile(self) -> dict[str, Any]:
        """Returns the processor microseconds per event: of the API by purpose, of Postgres, and of the client."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "profile.json"
            with serving(PROFILED, self.servers.environment | {"BENCHMARK_PROFILE": str(file)}) as profiled:
                await self.single(profiled, seconds=1)
                before = profiled.cpu_seconds(), self.servers.postgres_cpu_seconds(), time.process_time()
                load = await self.single(profiled)
                after = profiled.cpu_seconds(), self.servers.postgres_cpu_seconds(), time.process_time()
            samples = profile_of(file)
        api, postgres, client = (
            1e6 * (late - early) / len(load.latencies) for early, late in zip(before, after, strict=True)
        )
        total = sum(samples.values())
        by_room = sorted(samples.items(), key=lambda item: -item[1])
        shares = {room: api * hits / total for room, hits in by_room}
        return {"api": api, "api_by_room": shares, "postgres": postgres, "client": client}

    def _post(self, _: int) -> bytes:
        return message("/v1/feedback", self.bodies.body(next(self.numbers)), key=self.servers.key)

    def _skip(self, size: int) -> int:
        start = next(self.numbers)
        self.numbers = count(start + size)
        return start


async def measure(bench: Bench) -> dict[str, Any]:
    environment = bench.servers.environment
    with (
        serving(OURS, environment) as ours,
        serving(PEERS["empty"], environment) as empty,
        serving(PEERS["orm"], environment) as orm,
    ):
        servers = {"empty": empty, "ours": ours, "orm": orm}
        for served in servers.values():
            await bench.single(served, seconds=1)
        rounds: dict[str, list[Load]] = {name: [] for name in servers}
        at_half: dict[str, list[Load]] = {"ours": [], "empty": []}
        for number in range(bench.effort.rounds):
            for name, served in servers.items():
                rounds[name].append(await bench.single(served))
                if name in at_half:
                    # Half of each server's own maximum: half of ours may be close to the empty endpoint's maximum.
                    at_half[name].append(await bench.at(served, rounds[name][-1].per_second / 2))
            latest = ", ".join(f"{name} {loads[-1].per_second:,.0f}" for name, loads in rounds.items())
            late, usual = 1e3 * at_half["ours"][-1].quantile(0.99), 1e3 * at_half["empty"][-1].quantile(0.5)
            bench.console.print(f"round {number + 1}: requests/s {latest}", highlight=False)
            bench.console.print(f"at half load: p99 {late:.2f} ms, empty p50 {usual:.2f} ms", highlight=False)
        rates = {name: [load.per_second for load in loads] for name, loads in rounds.items()}
        ours_per_second = median(rates["ours"])
        p99 = median([load.quantile(0.99) for load in at_half["ours"]])
        p50 = median([load.quantile(0.5) for load in at_half["empty"]])

        copying = Copying(bench.servers.database.url)
        await bench.batches(ours)
        batches, copies = [], []
        for _ in range(bench.effort.rounds):
            batches.append(await bench.batches(ours))
            copies.append(await bench.copied(copying))
            bench.console.print(f"batch {batches[-1]:,.0f} events/s, COPY {copies[-1]:,.0f} rows/s", highlight=False)

    profile = await bench.profile()
    with serving(OURS, environment) as fresh:
        samples = await bench.memory(fresh, ours_per_second / 2)
    return {
        "vs_empty_endpoint": ours_per_second / median(rates["empty"]),
        "vs_orm_insert": ours_per_second / median(rates["orm"]),
        "p99_over_empty_p50": median(
            [
                ours.quantile(0.99) / empty.quantile(0.5)
                for ours, empty in zip(at_half["ours"], at_half["empty"], strict=True)
            ]
        ),
        "batch_vs_copy": median([batch / copied for batch, copied in zip(batches, copies, strict=True)]),
        "memory_slope_mb_per_min": slope(samples) * 60,
        "requests_per_second": ours_per_second,
        "empty_requests_per_second": median(rates["empty"]),
        "orm_requests_per_second": median(rates["orm"]),
        "batch_events_per_second": median(batches),
        "copy_rows_per_second": median(copies),
        "p50_ms_at_half_load": 1e3 * median([load.quantile(0.5) for load in at_half["ours"]]),
        "p99_ms_at_half_load": 1e3 * p99,
        "empty_p50_ms_at_half_load": 1e3 * p50,
        "p50_ms_at_full_load": 1e3 * median([load.quantile(0.5) for load in rounds["ours"]]),
        "empty_p50_ms_at_full_load": 1e3 * median([load.quantile(0.5) for load in rounds["empty"]]),
        "memory_mb": {"first": samples[0][1], "last": samples[-1][1], "minutes": samples[-1][0] / 60},
        "processor_us_per_event": profile,
        "rounds": rates,
    }


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Returns the slope in MB per second, by least squares without the warm-up."""
    warm = [sample for sample in samples if sample[0] >= WARM_SHARE * samples[-1][0]]
    mean_x = sum(x for x, _ in warm) / len(warm)
    mean_y = sum(y for _, y in warm) / len(warm)
    spread = sum((x - mean_x) ** 2 for x, _ in warm)
    return sum((x - mean_x) * (y - mean_y) for x, y in warm) / spread if spread else 0.0


def table(figures: dict[str, Any]) -> Table:
    shown = Table("", "measured", "compared with", "ratio", "target", title="Ingest", title_justify="left")
    shown.add_row(
        "single events/s, 64 clients, each committed before its answer", f"{figures['requests_per_second']:,.0f}",
        f"empty endpoint {figures['empty_requests_per_second']:,.0f}", f"{figures['vs_empty_endpoint']:.2f}",
        "≥ 1.0, goal 1.4",
    )  # fmt: skip
    shown.add_row(
        "single events/s", f"{figures['requests_per_second']:,.0f}",
        f"an ORM INSERT per request {figures['orm_requests_per_second']:,.0f}", f"{figures['vs_orm_insert']:.1f}",
        "≥ 7, goal 10",
    )  # fmt: skip
    shown.add_row(
        "p99 at half load, ms", f"{figures['p99_ms_at_half_load']:.2f}",
        f"p50 of the empty endpoint at half its load {figures['empty_p50_ms_at_half_load']:.2f}",
        f"{figures['p99_over_empty_p50']:.1f}", "≤ 5",
    )  # fmt: skip
    shown.add_row(
        f"events/s in batches of {BATCH}", f"{figures['batch_events_per_second']:,.0f}",
        f"COPY without ids {figures['copy_rows_per_second']:,.0f}", f"{figures['batch_vs_copy']:.2f}",
        "≥ 0.5, goal 0.7",
    )  # fmt: skip
    memory = figures["memory_mb"]
    shown.add_row(
        f"memory of the API over {memory['minutes']:.0f} min at half load, MB", f"{memory['last']:.0f}",
        f"at the start {memory['first']:.0f}", f"{figures['memory_slope_mb_per_min']:+.2f} per minute", "flat",
    )  # fmt: skip
    return shown


def ceiling(figures: dict[str, Any]) -> str:
    """Returns a sentence with the processor time per event, which sets the ceiling."""
    cost = figures["processor_us_per_event"]
    rooms = ", ".join(f"{room} {us:.0f}" for room, us in cost["api_by_room"].items() if us >= 0.5)
    return (
        f"The ceiling: an event takes {cost['api']:.0f} µs of one core in the API ({rooms}), "
        f"{cost['postgres']:.0f} µs in Postgres and {cost['client']:.0f} µs in the client."
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description="Measures the rate of ingest.")
    parser.add_argument("--quick", action="store_true", help="takes under three minutes and writes no results")
    options = parser.parse_args(arguments)
    effort = QUICK if options.quick else WHOLE
    console = Console(stderr=True)
    try:
        with backend() as servers:
            figures = asyncio.run(measure(Bench(effort, servers, console)))
    except Wrong as wrong:
        print(wrong, file=sys.stderr)
        return 1
    document = _rounded(
        figures | {"clients": CLIENTS, "machine": described("fastapi", "pydantic", "uvicorn", "asyncpg")}
    )
    Console(width=None if sys.stdout.isatty() else 150).print(table(figures))
    print(ceiling(figures))
    if not options.quick:
        RESULTS.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    print(json.dumps(document, ensure_ascii=False))
    return 0


def _all(load: Load, status: int) -> Load:
    if set(load.statuses) != {status}:
        raise Wrong(f"answers by status: {load.statuses}, expected only {status}")
    return load


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main(sys.argv[1:]))
