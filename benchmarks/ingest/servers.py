"""The measured servers: a Postgres with fsync on, our API, and its peers, each in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from thumbwheel import wire

from app import services
from app.access import service as access
from app.cli.stack import migrate
from app.project_setup import service as project_setup
from app.services import EmbeddedServer, free_port, tethered, wait_until
from app.settings import Settings
from benchmarks.ingest.peers import Base

PROJECT = "bench"
START_SECONDS = 60
OURS = "app.server:create_tuned_app"
PROFILED = "benchmarks.ingest.profiled:create"
PEERS = {"empty": "benchmarks.ingest.peers:empty", "orm": "benchmarks.ingest.peers:orm"}
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Served:
    """A uvicorn process."""

    url: str
    process: subprocess.Popen[bytes]

    def cpu_seconds(self) -> float:
        return _cpu_seconds(self.process.pid)

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE


@dataclass(frozen=True)
class Backend:
    """Postgres and Valkey, with a project and a key that may write to it."""

    database: EmbeddedServer
    environment: dict[str, str]
    key: str

    def postgres_cpu_seconds(self) -> float:
        """Returns the processor time of the server, which includes its ended sessions, and of its running sessions."""
        parent = self.database.process.pid
        return sum(_cpu_seconds(pid, children=pid == parent) for pid in [parent, *_children(parent)])


@contextmanager
def backend() -> Iterator[Backend]:
    with ExitStack() as stack:
        folder = stack.enter_context(services.temporary())
        database = stack.enter_context(services.embedded_postgres(folder / "postgres"))
        broker = stack.enter_context(services.embedded_valkey(folder / "valkey", durable=False))
        environment = os.environ | {
            "THUMBWHEEL_DATABASE_URL": database.url,
            "THUMBWHEEL_REDIS_URL": broker.url,
            "THUMBWHEEL_DATA_DIR": str(folder / "data"),
        }
        migrate(environment)
        engine = create_engine(Settings(database_url=database.url).need_database())
        with Session(engine) as session, session.begin():
            project_setup.create(session, wire.NewProject(project=PROJECT, base_model="/models/base", suites=[]))
            key = access.create_key(
                session,
                wire.NewKey(name="benchmark", scopes=["feedback:write", "feedback:read"], project=PROJECT),
                within=None,
            )
        Base.metadata.create_all(engine)
        engine.dispose()
        yield Backend(database, environment, key.secret)


@contextmanager
def serving(application: str, environment: dict[str, str]) -> Iterator[Served]:
    """Serves `application`, the import path of a factory, in a process of its own."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "app.server", "--application", application, "--port", str(port)]
    process = subprocess.Popen(tethered([*command, "--log-level", "warning"]), env=environment)
    try:
        if not wait_until(lambda: _answers(url) or process.poll() is not None, START_SECONDS) or process.poll():
            raise RuntimeError(f"{application} did not start")
        yield Served(url, process)
    finally:
        process.terminate()
        process.wait(timeout=30)


def profile_of(file: Path) -> dict[str, int]:
    samples: dict[str, int] = json.loads(file.read_text())
    return samples


def _answers(url: str) -> bool:
    try:
        httpx.get(f"{url}/openapi.json", timeout=2)
    except httpx.HTTPError:
        return False
    return True


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu_seconds(pid: int, *, children: bool = False) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    ticks = int(fields[11]) + int(fields[12]) + (int(fields[13]) + int(fields[14]) if children else 0)
    return ticks / TICKS
