"""The faults, and how each is undone later. All of this runs in the thread that owns the processes."""

import heapq
import itertools
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from app import outbox
from app.cli.stack import API, BEAT
from app.errors import Unavailable
from app.runs.leases.lease import Lease
from tests.chaos.runs.machine import POSTGRES, REDIS, Machine
from tests.chaos.runs.messages import everything_sent
from tests.chaos.runs.plan import Blow
from tests.chaos.runs.stale import StaleWrites
from tests.chaos.runs.watching import Seen, Watch, parent_of

AWAY_SECONDS = 20.0
#: A frozen worker wakes when another one has taken its run, at the latest after this time.
LONGEST_FREEZE_SECONDS = 30.0
FULL_SECONDS = 20.0
#: The longest time for which the disk stays full after a run has failed for lack of space.
MISSED_SECONDS = 12.0


@dataclass
class Struck:
    """A fault, and the runs that it met."""

    fault: str
    at: float
    runs: list[UUID]  # may grow while the fault lasts


@dataclass
class Chaos:
    machine: Machine
    watch: Watch
    stale: StaleWrites = field(default_factory=StaleWrites)
    struck: list[Struck] = field(default_factory=list)
    away: set[str] = field(default_factory=set)  # servers, processes and resources that are down, frozen or full
    _later: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def later(self, seconds: float, undo: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._numbers), undo))

    def undo_due(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            heapq.heappop(self._later)[2]()

    @property
    def lasting(self) -> bool:
        """Tells whether a fault is still to be undone."""
        return bool(self._later)

    def strike(self, blow: Blow, run: Seen) -> bool:
        """Strikes a run, in the state that the blow names or in another; returns whether the fault was possible now."""
        met = FAULTS[blow.fault](self, blow, run)
        if met is None:
            return False
        self.struck.append(Struck(blow.fault, time.monotonic(), met))
        return True

    def everybody(self) -> list[UUID]:
        return [run.id for run in self.watch.active]

    def back(self, name: str, start: Callable[[str], None]) -> Callable[[], None]:
        def undo() -> None:
            start(name)
            self.away.discard(name)

        return undo


Fault = Callable[[Chaos, Blow, Seen], list[UUID] | None]


def _runner_of(chaos: Chaos, run: Seen) -> str | None:
    """The worker that holds the run."""
    parent = parent_of(run.owner_pid) if run.owner_pid else None
    for name in chaos.machine.runners:
        if name not in chaos.away and chaos.machine.children[name].pid == parent:
            return name
    return None


def _worker_killed(chaos: Chaos, blow: Blow, run: Seen) -> list[UUID] | None:
    name = _runner_of(chaos, run)
    return None if name is None else _child_killed(chaos, name, blow, [run.id])


def _child_killed(chaos: Chaos, name: str, blow: Blow, met: list[UUID]) -> list[UUID] | None:
    if name in chaos.away:
        return None
    chaos.away.add(name)
    chaos.machine.kill_child(name)
    chaos.later(0.5 + 3 * blow.dice, chaos.back(name, chaos.machine.start_child))
    return met


def _workers_child_killed(chaos: Chaos, _blow: Blow, run: Seen) -> list[UUID] | None:
    if _runner_of(chaos, run) is None or run.owner_pid is None:
        return None
    return [run.id] if _signal(run.owner_pid, signal.SIGKILL) else None


def _worker_stopped(chaos: Chaos, blow: Blow, run: Seen) -> list[UUID] | None:
    """Sends SIGTERM to the worker: it has the trainer save its state, releases the run and ends."""
    name = _runner_of(chaos, run)
    if name is None:
        return None
    chaos.away.add(name)
    worker = chaos.machine.children[name]
    worker.ask()

    def look() -> None:
        if worker.alive():
            return chaos.later(0.3, look)
        worker.stop()
        return chaos.later(blow.dice, chaos.back(name, chaos.machine.start_child))

    chaos.later(0.3, look)
    return [run.id]


def _worker_frozen(chaos: Chaos, blow: Blow, run: Seen) -> list[UUID] | None:
    """Freezes a worker and its child, and every second time its trainer, until another worker holds the run."""
    name = _runner_of(chaos, run)
    if name is None or run.owner is None or run.owner_pid is None:
        return None
    chaos.away.add(name)
    worker = chaos.machine.children[name]
    frozen = [worker.pid, run.owner_pid]
    if blow.dice < 0.5:
        frozen += chaos.watch.trainers.get(run.id, {})
    for pid in frozen:
        _signal(pid, signal.SIGSTOP)
    lease, begun = Lease(run.id, run.owner, run.epoch), time.monotonic()

    def look() -> None:
        now = chaos.watch.runs[run.id]
        gone = now.epoch > lease.epoch or now.owner is None
        if not gone and time.monotonic() - begun < LONGEST_FREEZE_SECONDS:
            return chaos.later(0.3, look)  # nobody has taken the run yet
        if gone and chaos.stale.attempt(lease) is None:
            return chaos.later(1.0, look)  # Postgres is away
        for pid in frozen:
            _signal(pid, signal.SIGCONT)
        chaos.away.discard(name)
        return None

    chaos.later(chaos.machine.lease_seconds + 1.0, look)
    return [run.id]


def _trainer_killed(module: str) -> Fault:
    def strike(chaos: Chaos, _blow: Blow, run: Seen) -> list[UUID] | None:
        for pid, command in chaos.watch.trainers.get(run.id, {}).items():
            if command == module and _signal(pid, signal.SIGKILL):
                return [run.id]
        return None

    return strike


def _redis_stopped(chaos: Chaos, _blow: Blow, _run: Seen) -> list[UUID] | None:
    if REDIS in chaos.away:
        return None
    chaos.away.add(REDIS)
    chaos.machine.end_server(REDIS, signal.SIGTERM)
    chaos.later(AWAY_SECONDS, chaos.back(REDIS, chaos.machine.start_server))
    return chaos.everybody()


def _redis_hangs(chaos: Chaos, _blow: Blow, _run: Seen) -> list[UUID] | None:
    if REDIS in chaos.away:
        return None
    chaos.away.add(REDIS)
    pid = chaos.machine.servers[REDIS].process.pid
    os.kill(pid, signal.SIGSTOP)
    chaos.later(AWAY_SECONDS, chaos.back(REDIS, lambda _: os.kill(pid, signal.SIGCONT)))
    return chaos.everybody()


def _redis_lost(chaos: Chaos, blow: Blow, _run: Seen) -> list[UUID] | None:
    if REDIS in chaos.away:
        return None
    chaos.away.add(REDIS)
    chaos.machine.end_server(REDIS, signal.SIGKILL)
    chaos.machine.lose_data_of_redis()
    chaos.later(3 * blow.dice, chaos.back(REDIS, chaos.machine.start_server))
    return chaos.everybody()


def _postgres_stopped(chaos: Chaos, blow: Blow, _run: Seen) -> list[UUID] | None:
    """Stops Postgres as `pg_ctl stop -m immediate` does; every fourth time for longer than a lease."""
    if POSTGRES in chaos.away:
        return None
    chaos.away.add(POSTGRES)
    met = chaos.everybody()
    chaos.machine.end_server(POSTGRES, signal.SIGQUIT)
    seconds = chaos.machine.lease_seconds + 2 if blow.dice > 0.75 else 4 * blow.dice
    chaos.later(seconds, chaos.back(POSTGRES, chaos.machine.start_server))
    return met


def _disk_full(chaos: Chaos, blow: Blow, run: Seen) -> list[UUID] | None:
    """Fills the disk of the working folders. If they have no disk of their own, limits the size of the files that the
    trainer may write.
    """
    if "disk" in chaos.away:
        return None
    if not chaos.machine.has_disk:
        for pid in chaos.watch.trainers.get(run.id, {}):
            with suppress(ProcessLookupError, PermissionError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, 1024))
                return [run.id]
        return None
    chaos.away.add("disk")
    met = chaos.everybody()
    ballast = chaos.machine.work / "ballast"
    _fill(ballast)
    begun = time.monotonic()

    def look() -> None:
        """Schedules the removal of the ballast for some seconds after the run has failed for lack of space."""
        met.extend(run_id for run_id in chaos.everybody() if run_id not in met)  # runs that began meanwhile
        now = chaos.watch.runs[run.id]
        if now.owner == run.owner and now.epoch == run.epoch and time.monotonic() - begun < FULL_SECONDS:
            return chaos.later(0.2, look)
        return chaos.later(MISSED_SECONDS * blow.dice, make_room)

    def make_room() -> None:
        ballast.unlink(missing_ok=True)
        chaos.away.discard("disk")

    chaos.later(0.5, look)
    return met


def _fill(path: Path) -> None:
    """Fills the disk with one file."""
    with suppress(OSError), path.open("wb", buffering=0) as ballast:
        while True:
            ballast.write(b"\0" * (1 << 20))
    with suppress(OSError), path.open("ab", buffering=0) as ballast:
        while True:
            ballast.write(b"\0" * 4096)


def _old_messages(chaos: Chaos, _blow: Blow, _run: Seen) -> list[UUID] | None:
    """Sends every message of the past once more."""
    if {REDIS, POSTGRES} & chaos.away:
        return None
    try:
        for task, queue, arguments in everything_sent():
            outbox.sender().send_task(task, kwargs=arguments, queue=queue)
    except Unavailable:
        return None
    return chaos.everybody()


def _signal(pid: int, sign: signal.Signals) -> bool:
    try:
        os.kill(pid, sign)
    except ProcessLookupError:
        return False
    return True


FAULTS: dict[str, Fault] = {
    "worker killed": _worker_killed,
    "worker's child killed": _workers_child_killed,
    "worker stopped": _worker_stopped,
    "worker frozen past its lease": _worker_frozen,
    "trainer killed": _trainer_killed("worker.training.train"),
    "scorer killed": _trainer_killed("worker.evaluation.score"),
    "beat killed": lambda chaos, blow, _: _child_killed(chaos, BEAT, blow, chaos.everybody()),
    "API killed": lambda chaos, blow, _: _child_killed(chaos, API, blow, chaos.everybody()),
    "Redis stopped for 20 s": _redis_stopped,
    "Redis hangs for 20 s": _redis_hangs,
    "Redis killed, its data lost": _redis_lost,
    "Postgres stopped at once": _postgres_stopped,
    "disk full": _disk_full,
    "old messages sent again": _old_messages,
}
