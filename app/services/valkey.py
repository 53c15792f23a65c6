"""Runs an embedded Valkey, a Redis server, on a free port; it ends with this process and has its data in a folder."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from app.errors import Unavailable
from app.services import folders
from app.services.processes import EmbeddedServer, Process, free_port, server_user
from app.services.programs import valkey_program

START_SECONDS = 60
ATTEMPTS = 5  # another process may take the port that was free a moment before


@contextmanager
def embedded_valkey(
    folder: Path, *, durable: bool = True, program: Path | None = None, port: int | None = None
) -> Iterator[EmbeddedServer]:
    """Runs Valkey on the data in `folder`, created by the first call, while the block lasts.

    durable  False stores no data on disk, as tests do
    port     None takes a free port

    Raises `Conflict` if another process uses the folder, `Invalid` if the server may not enter it, `Unavailable`
    without space, port or program, or if the server does not start.
    """
    binary = valkey_program(program)
    with folders.claimed(folder):
        folders.check_usable(folder)
        password = folders.secret(folder / "password")
        data = folder / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        folders.give_to_server(data)
        process, port = _start(binary, folder, password, durable, port)
        url = f"redis://:{password}@127.0.0.1:{port}/0"
        server = EmbeddedServer(url, process, lambda: _start(binary, folder, password, durable, port)[0])
        try:
            yield server
        finally:
            server.process.stop()


def _start(binary: Path, folder: Path, password: str, durable: bool, fixed_port: int | None) -> tuple[Process, int]:
    for _ in range(ATTEMPTS):
        port = fixed_port or free_port()
        # The password goes into a file, since arguments are visible in the process list.
        configuration = folder / "data" / "valkey.conf"
        configuration.unlink(missing_ok=True)
        configuration.touch(mode=0o600)
        configuration.write_text(
            f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {_quoted(folder / 'data')}\n"
            f"save ''\nappendonly {'yes' if durable else 'no'}\nappendfsync everysec\nmaxmemory-policy noeviction\n"
        )
        folders.give_to_server(configuration)
        # The log of an earlier server may show why it ended.
        if (folder / "log").exists():
            (folder / "log").replace(folder / "log.before")
        with (folder / "log").open("wb") as log:
            server = Process(
                "Valkey",
                [binary, configuration],
                output=log,
                environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                folder=folder / "data",
                end_with=signal.SIGTERM,
                user=server_user(),
            )
        try:
            if server.wait_ready(partial(_answers, port, password), START_SECONDS):
                return server, port
        except BaseException:
            server.stop()
            raise
        server.stop()
        output = (folder / "log").read_text(errors="replace")
        if "Address already in use" not in output:
            break
    last = (output.strip().splitlines() or ["no output"])[-1]
    raise Unavailable(f"Valkey does not start: {last} (full log: {folder / 'log'}).", code="cannot_start")


def _answers(port: int, password: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (part := connection.recv(100)):
                answer += part
            return answer == b"+OK\r\n+PONG\r\n"
    except OSError:
        return False


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
