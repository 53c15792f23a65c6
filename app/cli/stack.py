"""Runs Postgres, Valkey, API, workers and beat together, for `thumbwheel up`, the demo and the story tests."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import httpx

from app import services
from app.errors import Conflict, Unavailable
from app.messages import HOUSEKEEPING, RUNS
from app.services.server_watch import ServerWatch
from app.services.supervisor import Say, Supervisor
from app.settings import Settings

API_SECONDS = 120  # a first start compiles every module
WORKER_STOP_SECONDS = 35  # a trainer saves its state within 30
API_STOP_SECONDS = 5  # beyond `shutdown_seconds`

API = "api"
BEAT = "beat"
GATEWAY = "gateway"


@dataclass(frozen=True)
class Stack:
    """A running Thumbwheel. `environment` lets another process join it; `admin_key` is None unless it is new.

    gateway_url  the base URL of OpenAI's clients, None without a gateway
    """

    base_url: str
    admin_key: str | None
    environment: Mapping[str, str]
    supervisor: Supervisor
    server_watch: ServerWatch
    gateway_url: str | None = None

    def watch(self) -> None:
        """Restarts processes and embedded servers that died; call it about once a second, in the thread of `running`.

        Raises `Unavailable` if a server dies again and again.
        """
        self.server_watch.watch()
        self.supervisor.watch()


def interruptible() -> None:
    """Makes SIGTERM, SIGHUP (but not under nohup) and Ctrl-C raise KeyboardInterrupt.

    Ctrl-C does so even in a process that a shell started in the background, with SIGINT ignored. A handler that called
    `sys.exit` could be mistaken for an error of the code that it interrupts.
    """

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)


@contextmanager
def running(
    settings: Settings, say: Say, *, workers: int = 1, durable: bool = True, gateway: bool = False
) -> Iterator[Stack]:
    """Runs everything in `settings.data_dir` while the block lasts, in the calling thread.

    settings  passed to every process; servers with a URL are used, the others are embedded; port 0 takes a free one
    say       a function that gets every line of every process
    workers   the number of workers for runs; 0 leaves runs to workers elsewhere
    gateway   True runs a gateway on the port `gateway_port`
    durable   False gives up the safety of the data against a crash of the machine for speed

    Raises `Conflict` if the folder or the port is in use, `Unavailable` if a process does not start.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(services.claimed(settings.data_dir.absolute()))
        port = settings.port or services.free_port()
        require_free(settings.host, port)
        gateway_port = (settings.gateway_port or services.free_port()) if gateway else None
        if gateway_port is not None:
            require_free(settings.host, gateway_port)
        servers: dict[str, services.EmbeddedServer] = {}
        phase = partial(_phase, say)
        database_url, redis_url = settings.database_url, str(settings.redis_url or "")
        if database_url is None:
            with phase("Postgres"):
                servers["Postgres"] = stack.enter_context(
                    services.embedded_postgres(folder / "postgres", durable=durable, programs=settings.postgres_bin)
                )
            database_url = servers["Postgres"].url
        if not redis_url:
            with phase("Valkey"):
                servers["Valkey"] = stack.enter_context(
                    services.embedded_valkey(folder / "valkey", durable=durable, program=settings.valkey_server)
                )
            redis_url = servers["Valkey"].url
        base_url = f"http://{_reachable(settings.host)}:{port}"
        environment = os.environ | settings.as_environment()
        environment |= {
            "THUMBWHEEL_DATABASE_URL": database_url,
            "THUMBWHEEL_REDIS_URL": redis_url,
            "THUMBWHEEL_DATA_DIR": str(folder),
            "THUMBWHEEL_URL": base_url,
            "THUMBWHEEL_PSEUDONYM_KEY": _pseudonym_key(settings, folder),
            "PYTHONUNBUFFERED": "1",
            # Celery's warning about root is no news to a person who started everything as root.
            "PYTHONWARNINGS": "ignore:You're running the worker with superuser",
        }
        with phase("migrations"):
            migrate(environment)
        admin_key = _first_admin_key(database_url)

        # If we are killed, the workers are killed, too: the servers end with us, and Celery would wait for them. The
        # children of a worker follow by `end_with_parent` in `worker.main`.
        supervisor = Supervisor(say)
        runners = ["worker"] if workers == 1 else [f"worker-{number}" for number in range(1, workers + 1)]
        stack.callback(supervisor.stop, [GATEWAY, API], settings.shutdown_seconds + API_STOP_SECONDS)
        stack.callback(supervisor.stop, [BEAT, *runners], WORKER_STOP_SECONDS)
        supervisor.start(API, api_command(settings.host, port), environment)
        for name in runners:
            supervisor.start(name, celery_command(name, RUNS), environment, orphaned_with=signal.SIGKILL)
        schedule = folder / "beat-schedule"
        supervisor.start(
            BEAT,
            [*celery_command(BEAT, HOUSEKEEPING), "--beat", "--schedule", schedule],
            environment,
            orphaned_with=signal.SIGKILL,
        )

        gateway_url = None
        if gateway_port is not None:
            gateway_url = f"http://{_reachable(settings.host)}:{gateway_port}/v1"
            supervisor.start(GATEWAY, gateway_command(settings.host, gateway_port), environment)

        with phase("API, beat and workers" if runners else "API and beat"):
            answers = partial(_answers, f"{base_url}/livez")
            if not services.wait_until(lambda: answers() or not supervisor.alive(API), API_SECONDS) or not answers():
                raise Unavailable("The API does not start: see its lines above.", code="api_silent")
        yield Stack(base_url, admin_key, environment, supervisor, ServerWatch(say, servers), gateway_url)


@contextmanager
def _phase(say: Say, name: str) -> Iterator[None]:
    """Reports the beginning of a phase and its duration."""
    began = time.monotonic()
    say("thumbwheel", f"Starting {name} …")
    yield
    say("thumbwheel", f"{name}: ready after {time.monotonic() - began:.1f} s")


def require_free(host: str, port: int) -> None:
    """Raises `Conflict` if the port is in use already."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise Conflict(
            f"Nothing can listen on {host}:{port} ({error.strerror}): choose another port, 0 takes a free one.",
            code="port_in_use",
        ) from error


def migrate(environment: Mapping[str, str]) -> None:
    """Migrates the database of `environment`. Raises `Unavailable` with the last line of output."""
    done = subprocess.run(
        services.tethered([sys.executable, "-m", "app.cli.main", "migrate"]),
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise Unavailable(f"The tables of the database cannot be brought up to date: {last}", code="migration_failed")


def _pseudonym_key(settings: Settings, folder: Path) -> str:
    """Returns the key of pseudonyms: the given one, or that of the data folder, which is made at the first start."""
    if settings.pseudonym_key is not None:
        return settings.pseudonym_key.get_secret_value()
    return services.secret(folder / "pseudonym-key")


def _first_admin_key(database_url: str) -> str | None:
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    from app.access.service import first_admin_key

    engine = create_engine(Settings(database_url=database_url).need_database())
    try:
        with Session(engine) as session, session.begin():
            return first_admin_key(session)
    finally:
        engine.dispose()


def api_command(host: str, port: int) -> list[str]:
    return [sys.executable, "-m", "app.server", "--host", host, "--port", str(port)]


def gateway_command(host: str, port: int) -> list[str]:
    return [*api_command(host, port), "--application", "app.gateway.main:create_tuned_gateway"]


def celery_command(name: str, queue: str) -> list[str | Path]:
    worker = [sys.executable, "-m", "celery", "-q", "-A", "worker.main", "worker", "-Q", queue, "-c", "1"]
    return [*worker, "-n", f"{name}@%h", "--loglevel", "INFO", "--without-gossip", "--without-mingle"]


def _reachable(host: str) -> str:
    """Returns the address at which this machine reaches a server that listens on `host`."""
    if host in {"0.0.0.0", "::", ""}:  # noqa: S104
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False
