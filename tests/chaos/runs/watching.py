"""Watches from outside: the rows of runs, and the processes that work in their folders."""

import re
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psycopg

from worker.children.warm_start import FORKED

EVERY_SECONDS = 0.25
#: By the names that workers start, so that a module that moves is still found.
WORKS_IN = re.compile(rf"(?:{'|'.join(map(re.escape, sorted(FORKED)))}) \S*\bwork/([0-9a-f-]{{36}})(/epoch-\d+)?")
ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Seen:
    """A run as its row is."""

    id: UUID
    project: str
    state: str
    reason: str | None
    owner: str | None
    epoch: int

    @property
    def owner_pid(self) -> int | None:
        """The worker's child that holds it."""
        return int(self.owner.split(":")[1]) if self.owner else None


@dataclass
class Watch:
    """Looks several times a second, from a thread, while the block lasts."""

    database_url: str
    runs: Mapping[UUID, Seen] = field(default_factory=dict)
    trainers: Mapping[UUID, Mapping[int, str]] = field(default_factory=dict)  # run → process id → command
    twice: dict[UUID, str] = field(default_factory=dict)  # run → processes that shared its folder
    most: int = 0  # largest number of trainers and scorers at once, over all runs
    looks: int = 0
    _stopping: threading.Event = field(default_factory=threading.Event)
    _connection: psycopg.Connection[tuple[UUID, str, str, str | None, str | None, int]] | None = None

    def __enter__(self) -> "Watch":
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self._connection is not None:
            self._connection.close()

    @property
    def active(self) -> list[Seen]:
        return [run for run in self.runs.values() if run.state not in ENDED]

    def ended(self) -> int:
        return len(self.runs) - len(self.active)

    def _work(self) -> None:
        while not self._stopping.wait(EVERY_SECONDS):
            self.trainers = working()
            self.looks += 1
            self.most = max(self.most, sum(map(len, self.trainers.values())))
            for run_id in crowded():
                self._suspect(run_id)
            self._read_rows()

    def _suspect(self, run_id: UUID) -> None:
        """Records two trainers in one folder if a second look confirms them: the first one may have just ended."""
        time.sleep(0.05)
        both = crowded().get(run_id, {})
        if both:
            self.twice[run_id] = "; ".join(f"{pid}: {command}" for pid, command in both.items())

    def _read_rows(self) -> None:
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self.database_url, autocommit=True, connect_timeout=2)
            rows = self._connection.execute(
                "SELECT id, project_id, state, reason, lease_owner, lease_epoch FROM runs"
            ).fetchall()
        except psycopg.OperationalError:
            # Postgres is away: one of the faults.
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return
        self.runs = {row[0]: Seen(*row) for row in rows}


def working() -> dict[UUID, dict[int, str]]:
    """Returns the living trainers and scorers of each run, without their own child processes."""
    by_run: dict[UUID, dict[int, str]] = defaultdict(dict)
    for (run_id, _), processes in _by_folder().items():
        by_run[run_id] |= processes
    return dict(by_run)


def crowded() -> dict[UUID, dict[int, str]]:
    """Runs with a working folder in which more than one trainer or scorer works; those processes."""
    return {run_id: processes for (run_id, _), processes in _by_folder().items() if len(processes) > 1}


def _by_folder() -> dict[tuple[UUID, str], dict[int, str]]:
    processes_of: dict[tuple[UUID, str], dict[int, str]] = defaultdict(dict)
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            match = WORKS_IN.search(command)
            if match is None:
                continue
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                processes_of[UUID(match[1]), match[2] or ""][int(folder.name)] = match[0].partition(" ")[0]
                parents[int(folder.name)] = int(parent)
    return {
        folder: {pid: command for pid, command in processes.items() if parents[pid] not in processes}
        for folder, processes in processes_of.items()
    }


def parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
