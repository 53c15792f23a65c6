"""Runs an embedded Postgres on a free port; it ends with this process and has its data in a folder.

Only the role `thumbwheel` may connect, from this machine, with a random password that is stored in the folder. It owns
the database `thumbwheel` and may create others, but is not a superuser.
"""

import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from app.errors import Invalid, Unavailable
from app.services import folders
from app.services.processes import EmbeddedServer, Process, free_port, living_in, server_user, tethered, wait_until
from app.services.programs import postgres_programs

NAME = "thumbwheel"  # name of the role and of the database
START_SECONDS = 120  # recovery after a crash replays the log of changes
STOP_SECONDS = 30
ATTEMPTS = 5  # another process may take the port that was free a moment before

OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Errors of statements quote texts of users; the service itself logs errors without these texts.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "jit": "off",
    # Files in the data folder: a killed server leaves nothing in /dev/shm, and containers have 64 MB there.
    "dynamic_shared_memory_type": "mmap",
}
#: Options for data that a crash of the machine may lose; a crash of Postgres alone loses nothing.
FLEETING = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
}
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


@contextmanager
def embedded_postgres(
    folder: Path, *, durable: bool = True, programs: Path | None = None, port: int | None = None
) -> Iterator[EmbeddedServer]:
    """Runs Postgres on the data in `folder`, created by the first call, while the block lasts.

    durable   False gives up the safety of the data against a crash of the machine for speed, as tests do
    programs  the folder of `postgres` and `initdb`; by default see `postgres_programs`
    port      None takes a free port

    Raises `Conflict` if another process uses the folder, `Invalid` if the server may not enter it or its data are of
    another version, `Unavailable` without space, port or program, or if the server does not start.
    """
    binaries = postgres_programs(programs)
    with folders.claimed(folder):
        folders.check_usable(folder)
        password = folders.secret(folder / "password")
        cluster = folder / "cluster"
        if not cluster.exists():
            _create_cluster(binaries, folder, password, durable)
        _check_version(binaries, cluster)
        _clear_stale_pid(cluster)
        process, port = _start(binaries, folder, durable, port)
        url = f"postgresql://{NAME}:{password}@127.0.0.1:{port}/{NAME}"
        server = EmbeddedServer(url, process, partial(_start_again, binaries, folder, durable, port))
        try:
            yield server
        finally:
            server.process.stop(STOP_SECONDS, hurry=signal.SIGQUIT)


def _start_again(binaries: Path, folder: Path, durable: bool, port: int) -> Process:
    _clear_stale_pid(folder / "cluster")
    return _start(binaries, folder, durable, port)[0]


def _start(binaries: Path, folder: Path, durable: bool, fixed_port: int | None) -> tuple[Process, int]:
    cluster = folder / "cluster"
    options = OPTIONS | ({} if durable else FLEETING)
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    for _ in range(ATTEMPTS):
        port = fixed_port or free_port()
        # The log of an earlier server may show why it ended.
        if (folder / "log").exists():
            (folder / "log").replace(folder / "log.before")
        with (folder / "log").open("wb") as log:
            server = Process(
                "Postgres",
                [binaries / "postgres", "-D", cluster, "-p", str(port), *arguments],
                output=log,
                environment=ENVIRONMENT,
                folder=folder,
                end_with=signal.SIGINT,  # fast shutdown: rolls back open transactions and leaves nothing to recover
                user=server_user(),
            )
        try:
            if server.wait_ready(partial(_ready, cluster, server.pid), START_SECONDS):
                return server, port
        except BaseException:
            server.stop(STOP_SECONDS, hurry=signal.SIGQUIT)
            raise
        server.stop(hurry=signal.SIGQUIT)
        output = (folder / "log").read_text(errors="replace")
        if "Address already in use" not in output:
            break
    raise Unavailable(
        f"Postgres does not start: {_last_fault(output)} (full log: {folder / 'log'}).", code="cannot_start"
    )


def _ready(cluster: Path, pid: int) -> bool:
    """Returns whether Postgres is ready: the first line of its pid file has its process id, the eighth its state."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _create_cluster(binaries: Path, folder: Path, password: str, durable: bool) -> None:
    """Creates a cluster in a temporary folder and renames that when it is complete, so that no cluster is partial."""
    aside = folder / "cluster.new"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    folders.give_to_server(aside)
    initdb: list[str | Path] = [
        binaries / "initdb",
        "-D",
        aside,
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C",
    ]
    _run("initdb", initdb if durable else [*initdb, "--no-sync"], folder)
    # Only our role may connect, with its password; the superuser has none and works in single-user mode only.
    (aside / "pg_hba.conf").write_text(f"host all {NAME} 127.0.0.1/32 scram-sha-256\n")
    _run(
        "Postgres",
        [binaries / "postgres", "--single", "-D", aside, "-c", f"fsync={'on' if durable else 'off'}", "postgres"],
        folder,
        f"CREATE ROLE {NAME} LOGIN CREATEDB PASSWORD '{password}'\nCREATE DATABASE {NAME} OWNER {NAME}\n",
    )
    aside.rename(folder / "cluster")


def _run(name: str, command: Sequence[str | Path], folder: Path, text: str = "") -> None:
    done = subprocess.run(
        tethered(command, end_with=signal.SIGKILL, user=server_user()),
        check=False,
        input=text,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=folder,
    )
    output = done.stdout + done.stderr
    if done.returncode or "ERROR:" in output:
        raise Unavailable(
            f"A new database cannot be created in {folder}: {name} says {_last_fault(output)}", code="cannot_start"
        )


def _last_fault(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    faults = [line for line in lines if any(word in line for word in ("FATAL:", "PANIC:", "error:", "ERROR:"))]
    return (faults or lines or ["no output"])[-1].strip()


def _check_version(binaries: Path, cluster: Path) -> None:
    version = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    ours = version.split()[2].partition(".")[0]
    theirs = (cluster / "PG_VERSION").read_text().strip()
    if ours != theirs:
        raise Invalid(
            f"The data in {cluster} is of Postgres {theirs}, and {binaries} is Postgres {ours}: point "
            "THUMBWHEEL_POSTGRES_BIN to the older one, or choose another data folder.",
            code="postgres_version",
        )


def _clear_stale_pid(cluster: Path) -> None:
    """Waits for a server whose supervisor was killed, then deletes its pid file. Our claim keeps others from starting.

    Postgres refuses to start if the process id in the file belongs to another process by now.
    """
    stale = cluster / "postmaster.pid"
    if not stale.exists() or not Path("/proc/self/cwd").exists():
        return
    if not wait_until(lambda: not living_in(cluster), STOP_SECONDS):
        raise Unavailable(
            f"Postgres processes {living_in(cluster)} still work in {cluster}: end them and try again.",
            code="still_running",
        )
    stale.unlink(missing_ok=True)
