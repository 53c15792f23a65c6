"""The API in a separate process whose memory and processor time are measured."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from thumbwheel import wire

from app import services
from app.access import service as access
from app.cli.stack import api_command, migrate
from app.settings import Settings

PROJECT = "hostile"
START_SECONDS = 120
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Target:
    port: int
    key: str
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def forget_peak(self) -> None:
        """Resets the peak of memory that the kernel records."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def memory_mb(self) -> float:
        return self._status("VmRSS")

    def peak_mb(self) -> float:
        return self._status("VmHWM")

    def _status(self, name: str) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


@contextmanager
def serving(environment: Mapping[str, str], log: Path) -> Iterator[Target]:
    """Serves the API on migrated servers with a project and an admin key, while the block lasts."""
    engine = create_engine(Settings(database_url=environment["THUMBWHEEL_DATABASE_URL"]).need_database())
    with Session(engine) as session, session.begin():
        key = access.create_key(session, wire.NewKey(name="hostile", scopes=["admin"], project=None), within=None)
    engine.dispose()
    port = services.free_port()
    command = services.tethered(api_command("127.0.0.1", port))
    with log.open("wb") as lines:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=lines, stderr=lines)
        try:
            target = Target(port, key.secret, process.pid)
            assert services.wait_until(lambda: _answers(target.url), START_SECONDS), log.read_text()
            _make_project(target)
            yield target
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def embedded() -> Iterator[Target]:
    """Serves the API on a new Postgres and Valkey, while the block lasts."""
    with ExitStack() as stack:
        folder = stack.enter_context(services.temporary())
        database = stack.enter_context(services.embedded_postgres(folder / "postgres", durable=False))
        broker = stack.enter_context(services.embedded_valkey(folder / "valkey", durable=False))
        environment = {
            "THUMBWHEEL_DATABASE_URL": database.url,
            "THUMBWHEEL_REDIS_URL": broker.url,
            "THUMBWHEEL_DATA_DIR": str(folder / "data"),
            "THUMBWHEEL_BASE_MODELS": "on_workers",
        }
        migrate(os.environ | environment)
        yield stack.enter_context(serving(environment, folder / "api.log"))


def _make_project(target: Target) -> None:
    body = {"project": PROJECT, "base_model": "/models/base"}
    headers = {"Authorization": f"Bearer {target.key}"}
    httpx.post(f"{target.url}/v1/projects", json=body, headers=headers, timeout=30).raise_for_status()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", timeout=2).is_success
    except httpx.HTTPError:
        return False
