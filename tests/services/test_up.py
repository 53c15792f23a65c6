"""`thumbwheel up` in a terminal: Ctrl-C stops it and leaves no process behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from app import services

pytestmark = pytest.mark.xdist_group("stack")


class Terminal:
    """The process of `thumbwheel up`, in a separate session, and its output."""

    def __init__(self, folder: Path, *options: str, **settings: str) -> None:
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith("THUMBWHEEL_")}
        surroundings |= {f"THUMBWHEEL_{name.upper()}": value for name, value in settings.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app.cli.main", "up", "--data-dir", folder, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=surroundings,
        )
        self.printed = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.printed += line

    def wait_for(self, pattern: str) -> re.Match[str]:
        assert services.wait_until(lambda: re.search(pattern, self.printed) or self.process.poll() is not None, 120)
        found = re.search(pattern, self.printed)
        assert found, self.printed
        return found

    def ended(self) -> int:
        code = self.process.wait(120)
        self.reader.join(120)
        return code


def processes_on(folder: Path) -> list[str]:
    """Returns the commands of living processes that have `folder` in their environment or arguments."""
    processes = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            has_setting = f"THUMBWHEEL_DATA_DIR={folder}\0".encode() in (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes()
            if command and (has_setting or f"{folder}".encode() in command):
                processes.append(command.replace(b"\0", b" ").decode())
    return processes


def _is_ready(address: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{address}/readyz", timeout=5).is_success
    return False


@pytest.fixture
def folder() -> Iterator[Path]:
    with services.temporary() as path:
        yield path / "data"


@contextmanager
def up(folder: Path, *options: str, **settings: str) -> Iterator[Terminal]:
    terminal = Terminal(folder, *options, **settings)
    try:
        yield terminal
    finally:
        terminal.process.kill()
        terminal.process.wait()


@pytest.mark.trial
def test_up_answers_prints_its_first_key_once_and_one_ctrl_c_ends_everything(folder):
    with up(folder, "--port", "0", "--no-worker") as terminal:
        address = terminal.wait_for(r"up: (http://127\.0\.0\.1:\d+) ")[1]
        assert httpx.get(f"{address}/livez").status_code == 200
        assert terminal.wait_for(r"first admin key, shown this once: (\S+)")
        assert (folder / "pseudonym-key").stat().st_mode & 0o077 == 0

        terminal.process.send_signal(signal.SIGINT)

        assert terminal.ended() == 0
        assert "thumbwheel | stopped" in terminal.printed
        assert not processes_on(folder)

    with up(folder, "--port", "0", "--no-worker", "--gateway", gateway_port="0") as terminal:
        terminal.wait_for(r"up: http")
        assert "first admin key" not in terminal.printed
        gateway = terminal.wait_for(r"gateway: (http://127\.0\.0\.1:\d+)/v1 is the base URL")[1]
        assert services.wait_until(lambda: _is_ready(gateway), 60)
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ended() == 0


@pytest.mark.trial
def test_nothing_outlives_a_killed_up_and_a_dead_child_is_started_again(folder):
    with up(folder, "--port", "0") as terminal:
        terminal.wait_for(r"up: http")
        assert len(processes_on(folder)) >= 5  # Postgres, Valkey, API, worker, beat
        server = int(terminal.wait_for(r"api \| .*Started server process \[(\d+)\]")[1])

        os.kill(server, signal.SIGKILL)

        terminal.wait_for(r"api \| was ended by SIGKILL; starting it again in 1 s\n(.*\n)*.*Started server process")

        terminal.process.kill()

        terminal.ended()
        assert services.wait_until(lambda: not processes_on(folder), 120), processes_on(folder)


def test_a_port_in_use_is_refused_in_one_line(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken, up(folder, "--port", str(taken.getsockname()[1])) as terminal:
        assert terminal.ended() == 2
    last = terminal.printed.splitlines()[-1]
    assert last.startswith("Nothing can listen on 127.0.0.1:")
    assert last.endswith("choose another port, 0 takes a free one.")


def test_a_data_folder_in_use_is_refused_in_one_line(folder):
    with services.claimed(folder), up(folder, "--port", "0") as terminal:
        assert terminal.ended() == 2
    expected = f"in use by process {os.getpid()}: stop that one, or choose another folder."
    assert terminal.printed.splitlines()[-1].endswith(expected)
