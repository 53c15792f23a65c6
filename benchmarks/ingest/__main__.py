"""`make bench-ingest`: single events, batches and memory, as ratios to what is measured beside them in the same run.

Clients, API and Postgres (fsync on) share this machine's cores. Rounds of each server follow one another, and the
median round counts. Tells on stderr how it goes; on stdout come a table and, in the last line, all figures as one JSON
object. A whole run leaves them in benchmarks/results too; --quick measures less, for a look. Exit codes: 0 done,
1 a request was answered otherwise than it should be.
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
#: Samples of the memory before this share of the load are its warm-up.
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
    """A request was answered otherwise than it should be."""


class Bench:
    """One run: its servers, and events that no two requests share."""

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
        """Events a second through the batch endpoint."""
        made = [
            message(BATCHES, self.bodies.lines(self._skip(BATCH), BATCH), key=self.servers.key, kind=LINES)
            for _ in range(self.effort.batches)
        ]
        waiting = iter(made)
        connections = [await connect(served.url) for _ in range(BATCH_CLIENTS)]
        began = time.perf_counter()

        async def client(number: int) -> None:
            for sent in waiting:
                status, body = await connections[number].request(sent)
                if status != 200:
                    raise Wrong(f"a batch was answered {status}: {body[:300]!r}")

        await asyncio.gather(*map(client, range(BATCH_CLIENTS)))
        per_second = len(made) * BATCH / (time.perf_counter() - began)
        await close(connections)
        return per_second

    async def copied(self, copying: Copying) -> float:
        """Rows a second by COPY."""
        total = self.effort.batches * BATCH
        return await copying.rows_per_second(copying.rows(self.bodies, self._skip(total), total))

    async def memory(self, served: Served, per_second: float) -> list[tuple[float, float]]:
        """(seconds, MB) of the API process under a steady load."""
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
        """Processor microseconds of one event: of the API by what they are for, of Postgres, of the client."""
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
        shares = {room: api * taken / total for room, taken in sorted(samples.items(), key=lambda item: -item[1])}
        return {"api": api, "api_by_room": shares, "postgres": postgres, "client": client}

    def _post(self, _: int) -> bytes:
        return message("/v1/feedback", self.bodies.body(next(self.numbers)), key=self.servers.key)

    def _skip(self, many: int) -> int:
        start = next(self.numbers)
        self.numbers = count(start + many)
        return start


async def measure(bench: Bench) -> dict[str, Any]:
    environment = bench.servers.environment
    with (
        serving(OURS, environment) as ours,
        serving(PEERS["empty"], environment) as empty,
        serving(PEERS["orm"], environment) as orm,
    ):
        named = {"empty": empty, "ours": ours, "orm": orm}
        for served in named.values():
            await bench.single(served, seconds=1)
        rounds: dict[str, list[Load]] = {name: [] for name in named}
        at_half: dict[str, list[Load]] = {"ours": [], "empty": []}
        for number in range(bench.effort.rounds):
            for name, served in named.items():
                rounds[name].append(await bench.single(served))
                if name in at_half:
                    # Half of its own maximum just now: at half of ours the empty endpoint may be close to its own.
                    at_half[name].append(await bench.at(served, rounds[name][-1].per_second / 2))
            told = ", ".join(f"{name} {loads[-1].per_second:,.0f}" for name, loads in rounds.items())
            late, usual = 1e3 * at_half["ours"][-1].quantile(0.99), 1e3 * at_half["empty"][-1].quantile(0.5)
            bench.console.print(f"round {number + 1}: requests/s {told}", highlight=False)
            bench.console.print(f"at half of it: p99 {late:.2f} ms, empty p50 {usual:.2f} ms", highlight=False)
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
        "batch_vs_copy": median([one / other for one, other in zip(batches, copies, strict=True)]),
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
    """MB a second by least squares, without the warm-up."""
    warm = [one for one in samples if one[0] >= WARM_SHARE * samples[-1][0]]
    mean_x = sum(x for x, _ in warm) / len(warm)
    mean_y = sum(y for _, y in warm) / len(warm)
    spread = sum((x - mean_x) ** 2 for x, _ in warm)
    return sum((x - mean_x) * (y - mean_y) for x, y in warm) / spread if spread else 0.0


def table(figures: dict[str, Any]) -> Table:
    shown = Table("", "measured", "beside it", "ratio", "to reach", title="Ingest", title_justify="left")
    shown.add_row(
        "single events/s, 64 clients, each committed before its answer", f"{figures['requests_per_second']:,.0f}",
        f"empty endpoint {figures['empty_requests_per_second']:,.0f}", f"{figures['vs_empty_endpoint']:.2f}",
        "≥ 1.0, goal 1.4",
    )  # fmt: skip
    shown.add_row(
        "the same", f"{figures['requests_per_second']:,.0f}",
        f"an ORM INSERT a request {figures['orm_requests_per_second']:,.0f}", f"{figures['vs_orm_insert']:.1f}",
        "≥ 7, goal 10",
    )  # fmt: skip
    shown.add_row(
        "p99 at half of that load, ms", f"{figures['p99_ms_at_half_load']:.2f}",
        f"p50 of the empty endpoint at half of its load {figures['empty_p50_ms_at_half_load']:.2f}",
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
        f"at the start {memory['first']:.0f}", f"{figures['memory_slope_mb_per_min']:+.2f} a minute", "flat",
    )  # fmt: skip
    return shown


def ceiling(figures: dict[str, Any]) -> str:
    """What the ceiling is made of, in a sentence."""
    spent = figures["processor_us_per_event"]
    rooms = ", ".join(f"{room} {us:.0f}" for room, us in spent["api_by_room"].items() if us >= 0.5)
    return (
        f"The ceiling: an event takes {spent['api']:.0f} µs of one core in the API ({rooms}), "
        f"{spent['postgres']:.0f} µs in Postgres and {spent['client']:.0f} µs in the client."
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description="How fast events come in.")
    parser.add_argument("--quick", action="store_true", help="under three minutes; nothing is kept")
    asked = parser.parse_args(arguments)
    effort = QUICK if asked.quick else WHOLE
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
    if not asked.quick:
        RESULTS.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    print(json.dumps(document, ensure_ascii=False))
    return 0


def _all(load: Load, status: int) -> Load:
    if set(load.statuses) != {status}:
        raise Wrong(f"answers by status: {load.statuses}, all should be {status}")
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
