"""Processes that we start: none outlives us, and none is left behind by a stop."""

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

TETHER = Path(__file__).with_name("tether.py")

#: Whom servers run as when we are root: Postgres refuses root, and a server needs no rights at all.
UNPRIVILEGED = "nobody"

POLL_SECONDS = 0.02


def tethered(
    command: Sequence[str | Path],
    *,
    end_with: Signals = signal.SIGTERM,
    user: str | None = None,
    limits: Mapping[str, int] | None = None,
) -> list[str]:
    """`command` so that it gets `end_with` when the thread that starts it ends: hand it to `subprocess.Popen`.

    limits  what it and its children may use, by `resource`'s names: {"core": 0, "data": bytes}

    Raises `Unavailable` where the program doesn't exist.
    """
    program = shutil.which(command[0])
    if program is None:
        raise Unavailable(f"{command[0]} is not there or cannot be run.", code="program_missing")
    arguments = [os.path.abspath(program), *(str(part) for part in command[1:])]
    limited = ",".join(f"{name}={most}" for name, most in (limits or {}).items()) or "-"
    who = [str(os.getpid()), str(int(end_with)), user or "-", limited]
    return [sys.executable, "-I", "-S", str(TETHER), *who, *arguments]


def server_user() -> str | None:
    """The user a server has to run as, None for our own."""
    return UNPRIVILEGED if os.geteuid() == 0 else None


def first_closed_to(user: str, path: Path) -> Path | None:
    """The first folder on the way to `path` (or `path` itself) that `user` may not enter."""
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
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise Unavailable(
                f"No TCP port is free on {host} ({error.strerror}): stop something that listens.", code="no_free_port"
            ) from error
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition` came true within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def living_in(folder: Path) -> list[int]:
    """Processes whose current folder is `folder` or below it, zombies not counted; none where there is no /proc.

    A process id in a file says little: it may belong to somebody else by now, or to a zombie.
    """
    wanted = os.path.realpath(folder)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"{os.readlink(entry / 'cwd')}/".startswith(f"{wanted}/"):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state not in "ZX":
                    found.append(int(entry.name))
        except OSError:
            continue  # ended meanwhile, or not ours to look at
    return found


@dataclass
class AdoptedChild:
    """A child that another process has forked: what `Process` uses of `subprocess.Popen`."""

    pid: int
    returncode: int | None = None
    stdout: None = None

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


class Process:
    """A child in a session of its own, so that a Ctrl-C in the terminal reaches us alone and we stop it in order."""

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
        """`end_with` is for a stop; `orphaned_with` is what it gets when we die, by default the same.

        inherits  open files that it gets under their numbers
        limits    what it may use, see `tethered`
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
        """Returns the child `pid`, which leads a session of its own already and ends with us. A stop is a SIGTERM."""
        process = cls.__new__(cls)
        process.name, process.end_with, process.popen = name, signal.SIGTERM, AdoptedChild(pid)
        return process

    @property
    def pid(self) -> int:
        return self.popen.pid

    def alive(self) -> bool:
        """Whether it runs. Leaves a dead child unreaped, so that its process id stays ours until `stop`."""
        if self.popen.returncode is not None:
            return False
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def wait_ready(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Whether `ready` came true within `seconds` while it ran."""
        return wait_until(lambda: not self.alive() or ready(), seconds) and self.alive()

    def ask(self) -> None:
        """Ask it to end, without waiting."""
        if self.alive():
            os.kill(self.pid, self.end_with)

    def kill(self) -> int:
        """End it and everything in its process group at once, unasked; its exit code."""
        if self.popen.returncode is None:
            # The leader is not reaped yet: the group's number cannot belong to anybody else.
            os.killpg(self.pid, signal.SIGKILL)
        return self.popen.wait()

    def stop(self, seconds: float = 10, *, hurry: Signals | None = None) -> int:
        """End it and everything in its process group; its exit code, negative for the signal that ended it.

        It gets `end_with` and `seconds` to obey, then `hurry` where given and 3 more seconds, then SIGKILL.
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
class Server:
    """An embedded server: its URL, which stays the same, its process, and the function that starts the next one."""

    url: str
    process: Process
    start: Callable[[], Process]

    def alive(self) -> bool:
        return self.process.alive()

    def restart(self) -> None:
        """Start a dead server again on its port and data. Raises `Unavailable` where it does not start."""
        self.process.kill()
        self.process = self.start()
