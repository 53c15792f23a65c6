"""Trainer and scorer as processes: started in their WORKDIR, watched, stopped in order."""

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
from app.runs.states import RunState, ahead_of
from worker import warm_start
from worker.follow import Follower
from worker.heartbeat import Heartbeat, Wish
from worker.kto.process import DISK_FULL, DONE, OUT_OF_MEMORY, REFUSED, STOPPED, disk_of

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
STOP_SECONDS = 30  # to save a state in
SAID_LINES, SAID_BYTES = 40, 20_000


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


class DiskFull(Ended):
    """It may go on once there is room. `cause` names the disk."""


class OutOfMemory(Ended):
    """It may not end so with fewer rows at once. `facts`: what the process said of itself."""

    def __init__(self, cause: str, facts: Mapping[str, Any]) -> None:
        super().__init__(cause)
        self.facts = facts


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

    Raises `Cancelled`, `Left`, `Lost`, `Failed`, `OutOfMemory`, `DiskFull`, and `StaleLease`, none before the process
    and whatever is left of its process group have ended. What it said last is kept on the run where nobody had wished
    for its end.
    """
    said = workdir / "trainer.log"
    heart.show_in(workdir)
    with said.open("ab") as log_file:
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
                state = _tell(follower, heart, state)
                heart.pause(POLL_SECONDS)
        finally:
            code = process.kill() if wish is Wish.DROP else process.stop(STOP_SECONDS if wish else 0)
        if wish is not Wish.DROP:
            state = _tell(follower, heart, state)
    heed(heart)
    if code == DONE:
        return state
    if code == STOPPED:
        raise Left
    lines = _last_lines(said, begins)
    _keep_said(heart, lines)
    raise _ended(name, workdir, code, lines[-1].strip() if lines else "it said nothing")


def _ended(name: str, workdir: Path, code: int, last: str) -> Ended:
    """Why, where nobody wished for it. `last`: the last line that it said."""
    failure = _failure(workdir)
    if code == REFUSED:
        return Failed(str(failure.get("message", last)))
    if code == OUT_OF_MEMORY:
        return OutOfMemory(str(failure.get("message", last)), failure)
    if code == DISK_FULL:
        return DiskFull(disk_of(workdir))
    if code < 0:
        memory = ", which often means that memory ran out" if code == -signal.SIGKILL else ""
        return Lost(f"the {name} was ended by {signal.Signals(-code).name}{memory}")
    return Failed(f"the {name} crashed with exit code {code}: {last} (all of it is in {workdir / 'trainer.log'})")


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
            for what in follower.notes:
                leases.tell(session, heart.lease, what)
        follower.sent()
    except Unavailable as error:
        log.warning("run %s cannot be reported on: %s", heart.lease.run_id, error)
    except StaleLease:
        pass  # the heart sees it, too, and ends the process
    return state


def _environment() -> dict[str, str]:
    """Ours without our settings: the trainer knows files, not where the database is."""
    return {name: value for name, value in os.environ.items() if not name.startswith("THUMBWHEEL_")}


def _limits() -> dict[str, int]:
    """No core dumps, which would hold weights and feedback; and no more memory than this machine's owner grants."""
    granted = settings.current().trainer_memory_gb
    return {"core": 0} if granted is None else {"core": 0, "data": int(granted * 10**9)}


def _failure(workdir: Path) -> dict[str, Any]:
    """What the process said of its end, none where it could not write it."""
    try:
        content = json.loads((workdir / "failure.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _last_lines(path: Path, begins: int) -> list[str]:
    with path.open("rb") as file:
        file.seek(max(begins, path.stat().st_size - SAID_BYTES))
        lines = file.read().decode(errors="replace").replace("\0", "").splitlines()  # Postgres has no text with NUL
    return [line.rstrip()[:500] for line in lines if line.strip()][-SAID_LINES:]


def _keep_said(heart: Heartbeat, lines: Sequence[str]) -> None:
    """It helps whoever looks into the run; nothing hangs on it."""
    try:
        with transaction() as session:
            leases.keep_said(session, heart.lease, "\n".join(lines))
    except Unavailable as error:
        log.warning("run %s: what its process said is not kept: %s", heart.lease.run_id, error)
