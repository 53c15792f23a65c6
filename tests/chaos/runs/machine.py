"""A Thumbwheel with parts that can be ended and started again under the same addresses."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from app import services
from app.cli.stack import API, BEAT, api_command, celery_command, migrate
from app.messages import HOUSEKEEPING, RUNS
from app.services import EmbeddedServer, Process, free_port, wait_until

POSTGRES, REDIS = "Postgres", "Redis"
#: Size of the disk for working folders, if this machine allows mounting one.
DISK = "96m"


@dataclass
class Machine:
    """Call all of it from one thread that outlives the processes: they end with it."""

    folder: Path
    workers: int
    lease_seconds: float
    api_port: int = field(default_factory=free_port)
    postgres_port: int = field(default_factory=free_port)
    redis_port: int = field(default_factory=free_port)
    servers: dict[str, EmbeddedServer] = field(default_factory=dict)
    children: dict[str, Process] = field(default_factory=dict)
    has_disk: bool = False  # whether `work` is a disk of its own, which can be full
    _contexts: dict[str, ExitStack] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def work(self) -> Path:
        return self.folder / "data" / "work"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def runners(self) -> list[str]:
        return [f"worker-{number}" for number in range(1, self.workers + 1)]

    @property
    def settings(self) -> dict[str, str]:
        """The settings of Thumbwheel, as environment variables."""
        return {
            "THUMBWHEEL_DATABASE_URL": self.servers[POSTGRES].url,
            "THUMBWHEEL_REDIS_URL": self.servers[REDIS].url,
            "THUMBWHEEL_DATA_DIR": str(self.folder / "data"),
            "THUMBWHEEL_URL": self.url,
            "THUMBWHEEL_LEASE_SECONDS": str(self.lease_seconds),
            "THUMBWHEEL_TICK_SECONDS": "1",
        }

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | self.settings | {"PYTHONWARNINGS": "ignore:You're running the worker with superuser"}

    def start_server(self, name: str) -> None:
        context = ExitStack()
        if name == POSTGRES:
            # Durable: otherwise an immediate stop may lose committed transactions.
            server = context.enter_context(
                services.embedded_postgres(self.folder / "postgres", port=self.postgres_port)
            )
        else:
            server = context.enter_context(services.embedded_valkey(self.folder / "valkey", port=self.redis_port))
        self.servers[name], self._contexts[name] = server, context

    def end_server(self, name: str, sign: signal.Signals) -> None:
        """Ends a server by a signal that takes effect immediately."""
        process = self.servers[name].process
        os.kill(process.pid, sign)
        if not wait_until(lambda: not process.alive(), 60):
            raise RuntimeError(f"{name} does not end by {sign.name}")
        self._contexts.pop(name).close()

    def lose_data_of_redis(self) -> None:
        """Deletes the data of Redis, which must be stopped."""
        shutil.rmtree(self.folder / "valkey" / "data")

    def start_child(self, name: str) -> None:
        if name == API:
            command: list[str | Path] = [*api_command("127.0.0.1", self.api_port)]
        elif name == BEAT:
            schedule = self.folder / "beat-schedule"
            command = [*celery_command(BEAT, HOUSEKEEPING), "--beat", "--schedule", schedule]
        else:
            command = celery_command(name, RUNS)
        orphaned_with = None if name == API else signal.SIGKILL
        with (self.logs / name).open("ab") as log:
            self.children[name] = Process(
                name, command, output=log, environment=self.environment, orphaned_with=orphaned_with
            )

    def kill_child(self, name: str) -> None:
        """Kills the process alone; its child processes have to end by themselves."""
        process = self.children[name]
        os.kill(process.pid, signal.SIGKILL)
        process.popen.wait()

    def lines(self, text: str) -> int:
        """Counts the lines that contain `text` in the logs of all workers."""
        return sum(
            text in line for name in self.runners for line in (self.logs / name).read_text(errors="replace").split("\n")
        )

    def await_api(self) -> None:
        if not wait_until(lambda: answers(self.url), 120):
            raise RuntimeError(f"the API does not start: {(self.logs / API).read_text()[-2000:]}")

    def close(self) -> None:
        for process in self.children.values():
            if process.alive():
                _continue(process.pid)
                process.ask()
        for process in self.children.values():
            process.stop(35)
        for name in list(self._contexts):
            _continue(self.servers[name].process.pid)
            self._contexts.pop(name).close()
        if self.has_disk:
            subprocess.run(["umount", "--lazy", self.work], check=False)


@contextmanager
def machine(folder: Path, workers: int, lease_seconds: float) -> Iterator[Machine]:
    """Runs all processes while the block lasts; the settings of this process are the machine's, too."""
    running = Machine(folder, workers, lease_seconds)
    running.logs.mkdir()
    running.work.mkdir(parents=True)
    try:
        running.has_disk = _mounted(running.work)
        running.start_server(POSTGRES)
        running.start_server(REDIS)
        os.environ.update(running.settings)
        migrate(running.environment)
        for name in (API, *running.runners, BEAT):
            running.start_child(name)
        running.await_api()
        yield running
    finally:
        running.close()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", timeout=2).is_success
    except httpx.HTTPError:
        return False


def _mounted(folder: Path) -> bool:
    """Mounts a small disk at `folder`, which root may do on most machines, and returns whether that was possible."""
    if os.geteuid() != 0 or sys.platform != "linux" or shutil.which("mount") is None:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=711", "chaos", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _continue(pid: int) -> None:
    """Wakes a process that may be frozen, since a frozen process cannot obey other signals."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
