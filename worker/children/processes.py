"""Starts trainer and scorer as processes in their WORKDIR, watches them and stops them in order."""

import json
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from app import settings
from app.database import transaction
from app.errors import StaleLease, Unavailable
from app.runs.leases import service as leases
from app.runs.states import RunState, TransitionKind, ahead_of
from worker.children import warm_start
from worker.children.heartbeat import Heartbeat, Wish
from worker.children.progress import Follower
from worker.training.machine.process import DISK_FULL, DONE, OUT_OF_MEMORY, REFUSED, STOPPED, disk_of

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
STOP_SECONDS = 30  # time to save a state
KEPT_LINES, KEPT_BYTES = 40, 20_000  # of the process's output


class Ended(Exception):
    """This worker does not continue the run. `cause` is a sentence for the run's history."""

    def __init__(self, cause: str = "") -> None:
        super().__init__(cause)
        self.cause = cause


class Cancelled(Ended):
    pass


class Left(Ended):
    """The state is saved: another worker may continue."""


class Lost(Ended):
    """The process died, perhaps by chance: the run should be tried again."""


class Failed(Ended):
    """The run failed and would fail in the same way again."""


class DiskFull(Ended):
    """The disk is full; the run may continue once there is room. `cause` names the disk."""


class ChildOutOfMemory(Ended):
    """Memory ran out; fewer rows at once may fit. `facts` are the process's own figures."""

    def __init__(self, cause: str, facts: Mapping[str, Any]) -> None:
        super().__init__(cause)
        self.facts = facts


def heed(heart: Heartbeat) -> None:
    """Raises `Cancelled`, `Left` or `StaleLease` if an operator or the worker requests it, or the lease is gone."""
    wish = heart.wish()
    if wish is Wish.DROP:
        raise StaleLease(f"The lease of run {heart.lease.run_id} is gone.", code="stale_lease")
    if wish is Wish.CANCEL:
        raise Cancelled
    if wish in (Wish.LEAVE, Wish.PAUSE):
        raise Left


def attend(name: str, module: str, workdir: Path, heart: Heartbeat, state: RunState) -> RunState:
    """Runs ``python -m module WORKDIR`` to its end, reports its progress and returns the run's state at the end.

    Raises `Cancelled`, `Left`, `Lost`, `Failed`, `ChildOutOfMemory`, `DiskFull` and `StaleLease`, but not before the
    process and its process group have ended. If its end was not requested, its last output is kept on the run.
    """
    log_path = workdir / "trainer.log"
    heart.show_in(workdir)
    with log_path.open("ab") as log_file:
        begins = log_file.tell()
        process = warm_start.start(
            name,
            module,
            workdir,
            output=log_file,
            environment=_environment(),
            limits=_limits(),
            check=lambda: heed(heart),
        )
    wish = None
    with closing(Follower(workdir)) as follower:
        try:
            while process.alive() and (wish := heart.wish()) is None:
                state = _report(follower, heart, state)
                heart.pause(POLL_SECONDS)
        finally:
            code = process.kill() if wish is Wish.DROP else process.stop(STOP_SECONDS if wish else 0)
        if wish is not Wish.DROP:
            state = _report(follower, heart, state)
    heed(heart)
    if code == DONE:
        return state
    if code == STOPPED:
        raise Left
    lines = _last_lines(log_path, begins)
    _keep_output(heart, lines)
    raise _ended(name, workdir, code, lines[-1].strip() if lines else "it printed nothing")


def _ended(name: str, workdir: Path, code: int, last: str) -> Ended:
    """Returns the exception for an end that was not requested; `last` is the last line of the process's output."""
    failure = _failure(workdir)
    if code == REFUSED:
        return Failed(str(failure.get("message", last)))
    if code == OUT_OF_MEMORY:
        return ChildOutOfMemory(str(failure.get("message", last)), failure)
    if code == DISK_FULL:
        return DiskFull(disk_of(workdir))
    if code < 0:
        memory = ", which often means that memory ran out" if code == -signal.SIGKILL else ""
        return Lost(f"the {name} was ended by {signal.Signals(-code).name}{memory}")
    return Failed(f"the {name} crashed with exit code {code}: {last} (the full output is in {workdir / 'trainer.log'})")


def _report(follower: Follower, heart: Heartbeat, state: RunState) -> RunState:
    """Reports the progress since the last report and returns the run's state afterwards.

    Progress that cannot be reported now is part of the next report.
    """
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
            for note in follower.notes:
                leases.note(session, heart.lease, TransitionKind.NOTED, note)
        follower.sent()
    except Unavailable as error:
        log.warning("run %s cannot be reported on: %s", heart.lease.run_id, error)
    except StaleLease:
        pass  # the heartbeat sees it too and ends the process
    return state


def _environment() -> dict[str, str]:
    """Returns this process's environment without our settings: the trainer needs only files, not the database."""
    return {name: value for name, value in os.environ.items() if not name.startswith("THUMBWHEEL_")}


def _limits() -> dict[str, int]:
    """Returns limits without core dumps, which would hold weights and feedback, and with the configured memory."""
    granted = settings.current().trainer_memory_gb
    return {"core": 0} if granted is None else {"core": 0, "data": int(granted * 10**9)}


def _failure(workdir: Path) -> dict[str, Any]:
    """Returns the process's own report of its failure; empty if it could not write one."""
    try:
        content = json.loads((workdir / "failure.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _last_lines(path: Path, begins: int) -> list[str]:
    with path.open("rb") as file:
        file.seek(max(begins, path.stat().st_size - KEPT_BYTES))
        lines = file.read().decode(errors="replace").replace("\0", "").splitlines()  # Postgres has no text with NUL
    return [line.rstrip()[:500] for line in lines if line.strip()][-KEPT_LINES:]


def _keep_output(heart: Heartbeat, lines: Sequence[str]) -> None:
    """Stores the last output on the run for a diagnosis; nothing else depends on it."""
    try:
        with transaction() as session:
            leases.keep_said(session, heart.lease, "\n".join(lines))
    except Unavailable as error:
        log.warning("run %s: the output of its process is not kept: %s", heart.lease.run_id, error)
