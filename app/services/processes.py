"""Starts child processes that end with this process, and stops them with all their children."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import IO, Self

from app.errors import Unavailable

TETHER = Path(__file__).with_name("die_with_parent.py")

#: The user that servers run as when we are root: Postgres refuses root, and a server needs no privileges.
UNPRIVILEGED = "nobody"

POLL_SECONDS = 0.02


def tethered(
    command: Sequence[str | Path],
    *,
    end_with: Signals = signal.SIGTERM,
    user: str | None = None,
    limits: Mapping[str, int] | None = None,
) -> list[str]:
    """Returns a command for `subprocess.Popen` that runs `command` and sends it `end_with` when the thread that
    started it ends.

    limits  limits of the command and its children, by the names of `resource`: {"core": 0, "data": bytes}

    Raises `Unavailable` if the program does not exist.
    """
    program = shutil.which(command[0])
    if program is None:
        raise Unavailable(f"{command[0]} does not exist or cannot be run.", code="program_missing")
    arguments = [os.path.abspath(program), *(str(part) for part in command[1:])]
    limits_argument = ",".join(f"{name}={most}" for name, most in (limits or {}).items()) or "-"
    tether = [str(TETHER), str(os.getpid()), str(int(end_with)), user or "-", limits_argument]
    return [sys.executable, "-I", "-S", *tether, *arguments]


def server_user() -> str | None:
    """Returns the user that servers have to run as, None for our own user."""
    return UNPRIVILEGED if os.geteuid() == 0 else None


def first_closed_to(user: str, path: Path) -> Path | None:
    """Returns the first folder on the way to `path`, or `path` itself, that `user` may not enter, else None."""
    account = pwd.getpwnam(user)
    for folder in [*reversed(path.absolute().parents), path.absolute()]:
        if not folder.exists():
            continue
        stat = folder.stat()
        shift = 6 if stat.st_uid == account.pw_uid else 3 if stat.st_gid == account.pw_gid else 0
        if not stat.st_mode >> shift & 1:
            return folder
    return None


def free_port(host: str = "127.0.0.1") -> int:
    """Returns a TCP port that no process listens on at this moment."""
    with socket.socket() as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise Unavailable(
                f"No TCP port is free on {host} ({error.strerror}): stop a process that listens on one.",
                code="no_free_port",
            ) from error
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Returns whether `condition` became true within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def living_in(folder: Path) -> list[int]:
    """Returns the ids of the processes, without zombies, that work in `folder` or below it; none without /proc.

    A pid file would not do: its process id may belong to another process by now, or to a zombie.
    """
    root = os.path.realpath(folder)
    living = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"{os.readlink(entry / 'cwd')}/".startswith(f"{root}/"):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state not in "ZX":
                    living.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile, or we may not read it
    return living


@dataclass
class AdoptedChild:
    """A child that another process forked, with the part of `subprocess.Popen` that `Process` uses."""

    pid: int
    returncode: int | None = None
    stdout: None = None

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


class Process:
    """A child process in its own session, so that a Ctrl-C in the terminal reaches only us and we stop it in order."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        output: IO[bytes] | int,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        end_with: Signals = signal.SIGTERM,
        orphaned_with: Signals | None = None,
        user: str | None = None,
        inherits: Sequence[int] = (),
        limits: Mapping[str, int] | None = None,
    ) -> None:
        """Starts the child. It gets `end_with` at a stop, and `orphaned_with`, by default the same, when we die.

        inherits  descriptors of open files that the child inherits
        limits    resource limits of the child, see `tethered`
        """
        self.name = name
        self.end_with = end_with
        try:
            self.popen: subprocess.Popen[bytes] | AdoptedChild = subprocess.Popen(
                tethered(command, end_with=orphaned_with or end_with, user=user, limits=limits),
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
                pass_fds=inherits,
            )
        except OSError as error:
            raise Unavailable(f"{name} cannot be started: {error.strerror}.", code="cannot_start") from error

    @classmethod
    def adopted(cls, name: str, pid: int) -> Self:
        """Returns the child `pid`, which already leads a session of its own and ends with us. A stop sends SIGTERM."""
        process = cls.__new__(cls)
        process.name, process.end_with, process.popen = name, signal.SIGTERM, AdoptedChild(pid)
        return process

    @property
    def pid(self) -> int:
        return self.popen.pid

    def alive(self) -> bool:
        """Returns whether the child runs. Only `stop` reaps a dead child, so that its process id stays ours."""
        if self.popen.returncode is not None:
            return False
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def wait_ready(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Returns whether `ready` became true within `seconds` while the child ran."""
        return wait_until(lambda: not self.alive() or ready(), seconds) and self.alive()

    def ask(self) -> None:
        """Sends the child `end_with`, without waiting for its end."""
        if self.alive():
            os.kill(self.pid, self.end_with)

    def kill(self) -> int:
        """Kills the child and its process group at once; returns the exit code."""
        if self.popen.returncode is None:
            # The child leads the group and is not reaped yet, so the group's number cannot belong to other processes.
            os.killpg(self.pid, signal.SIGKILL)
        return self.popen.wait()

    def stop(self, seconds: float = 10, *, hurry: Signals | None = None) -> int:
        """Ends the child and its process group; returns the exit code, which is negative for a signal.

        The child gets `end_with` and has `seconds` to end, then `hurry`, if any, and 3 more seconds, then SIGKILL.
        """
        if self.popen.returncode is not None:
            return int(self.popen.returncode)
        try:
            for sign, patience in ((self.end_with, seconds), (hurry, 3.0)):
                if sign is None:
                    continue
                if self.alive():
                    os.kill(self.pid, sign)
                if wait_until(lambda: not self.alive(), patience):
                    break
        finally:
            code = self.kill()
        return code


@dataclass
class EmbeddedServer:
    """An embedded server: its permanent URL, its process, and a function that starts the next process."""

    url: str
    process: Process
    start: Callable[[], Process]

    def alive(self) -> bool:
        return self.process.alive()

    def restart(self) -> None:
        """Starts a dead server again on its port and data. Raises `Unavailable` if it does not start."""
        self.process.kill()
        self.process = self.start()
