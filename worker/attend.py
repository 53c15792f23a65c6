"""Trainer and scorer as processes: started alone in their WORKDIR, watched, stopped in order."""

import fcntl
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from app.database import transaction
from app.errors import StaleLease, Unavailable
from app.runs.leases import service as leases
from app.runs.states import RunState, ahead_of
from app.services import Process, wait_until
from worker.follow import Follower
from worker.heartbeat import Heartbeat, Wish
from worker.kto.process import DONE, REFUSED, STOPPED

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
STOP_SECONDS = 30  # to save a state in


class Ended(Exception):
    """The run goes no further in this worker. `cause` is a sentence for the run's history."""

    def __init__(self, cause: str = "") -> None:
        super().__init__(cause)
        self.cause = cause


class Cancelled(Ended):
    pass


class Left(Ended):
    """The state is saved: another worker may continue."""


class Lost(Ended):
    """A death that may be chance: to be tried again."""


class Failed(Ended):
    """It would end the same way again."""


def heed(heart: Heartbeat) -> None:
    """Raises what somebody wishes."""
    wish = heart.wish()
    if wish is Wish.DROP:
        raise StaleLease(f"The lease of run {heart.lease.run_id} is gone.", code="stale_lease")
    if wish is Wish.CANCEL:
        raise Cancelled
    if wish in (Wish.LEAVE, Wish.PAUSE):
        raise Left


def attend(name: str, module: str, workdir: Path, heart: Heartbeat, state: RunState) -> RunState:
    """Run ``python -m module WORKDIR`` to its end and report what it tells; the state that the run is in then.

    Raises `Cancelled`, `Left`, `Lost`, `Failed`, and `StaleLease`, none before the process has ended.
    """
    said = workdir / "trainer.log"
    with said.open("ab") as log_file, alone_in(workdir) as lock:
        begins = log_file.tell()
        process = Process(
            name,
            [sys.executable, "-m", module, workdir],
            output=log_file,
            environment=_environment(),
            orphaned_with=signal.SIGKILL,
            inherits=[lock],
        )
        os.pwrite(lock, f"{process.pid}\n".encode(), 0)
    wish = None
    with closing(Follower(workdir)) as follower:
        try:
            while process.alive() and (wish := heart.wish()) is None:
                state = _tell(follower, heart, state)
                heart.pause(POLL_SECONDS)
        finally:
            code = process.kill() if wish is Wish.DROP else process.stop(STOP_SECONDS if wish else 0)
        if wish is not Wish.DROP:
            state = _tell(follower, heart, state)
    heed(heart)
    if code == DONE:
        return state
    last = _last_line(said, begins)
    if code == REFUSED:
        raise Failed(_refusal(workdir) or last)
    if code == STOPPED:
        raise Left
    if code < 0:
        memory = ", which often means that memory ran out" if code == -signal.SIGKILL else ""
        raise Lost(f"the {name} was ended by {signal.Signals(-code).name}{memory}")
    raise Failed(f"the {name} crashed with exit code {code}: {last} (all of it is in {said})")


@contextmanager
def alone_in(workdir: Path) -> Iterator[int]:
    """The open lock of `workdir`: a process that inherits it holds it until its end.

    Where a process of an earlier attempt still has it (its worker was frozen, not killed), that process is killed: its
    lease has expired. Raises `Lost` where that does not help.
    """
    lock = os.open(workdir / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _take(lock):
            holder = os.pread(lock, 20, 0).strip()
            if holder:
                log.warning("killing process %s of an earlier attempt in %s", holder.decode(), workdir)
                with suppress(ProcessLookupError):
                    os.kill(int(holder), signal.SIGKILL)
            if not wait_until(lambda: _take(lock), 10):
                raise Lost(f"another process works in {workdir}")
        os.ftruncate(lock, 0)
        yield lock
    finally:
        os.close(lock)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _tell(follower: Follower, heart: Heartbeat, state: RunState) -> RunState:
    """Report what is new; what cannot be told now is told with the next news. The state that the run is in then."""
    if not follower.read():
        return state
    wanted = follower.state
    try:
        with transaction() as session:
            if wanted is not None and ahead_of(state, wanted):
                reached = leases.advance(session, heart.lease, wanted)
                if reached is RunState.CANCELLING:
                    return state
                state = reached
            leases.report(session, heart.lease, follower.report(state))
        follower.sent()
    except Unavailable as error:
        log.warning("run %s cannot be reported on: %s", heart.lease.run_id, error)
    except StaleLease:
        pass  # the heart sees it, too, and ends the process
    return state


def _environment() -> dict[str, str]:
    """Ours without our settings: the trainer knows files, not where the database is."""
    return {name: value for name, value in os.environ.items() if not name.startswith("THUMBWHEEL_")}


def _refusal(workdir: Path) -> str | None:
    try:
        return str(json.loads((workdir / "failure.json").read_bytes())["message"])
    except (OSError, ValueError, KeyError):
        return None


def _last_line(path: Path, begins: int) -> str:
    with path.open("rb") as file:
        file.seek(max(begins, path.stat().st_size - 10_000))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:500] if lines else "it said nothing"
