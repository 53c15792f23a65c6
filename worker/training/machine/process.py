"""What trainer and scorer share as processes: exit codes, refusals, the wish to stop.

Imports nothing heavy: `--help` and a wrong WORKDIR are answered at once.

    Refusal       an expected failure: failure.json, one sentence on stderr, exit 2
    OutOfMemory   fewer rows at once may fit: failure.json with how many they were, one sentence, exit 71
    a full disk   nothing that was saved is lost: one sentence, failure.json where it finds room, exit 73
    Stopped       SIGTERM or Ctrl-C came and the state is saved: exit 75, call again to continue
    anything else is a crash with a traceback
"""

import argparse
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from app.durable import write_atomically
from worker.training.machine.lease_watch import end_with_lease
from worker.training.machine.out_of_memory import is_disk_full, is_out_of_memory

#: Those beyond 2 as sysexits.h has them: EX_OSERR, EX_CANTCREAT, EX_TEMPFAIL.
DONE, REFUSED, OUT_OF_MEMORY, DISK_FULL, STOPPED = 0, 2, 71, 73, 75


class Refusal(Exception):
    """An expected failure. The message names what happened, the field, and the remedy."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class OutOfMemory(Exception):
    """Memory ran out with so many rows at once. `facts` go into failure.json, for whoever starts the process again."""

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


def first_line(error: BaseException) -> str:
    """Of another library's error, to be said inside a sentence."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".:")[:300]


class Stopped(BaseException):
    """Asked to stop; everything needed to continue is on disk.

    No Exception: it may come at any moment (`StopRequest.at_once`), and nobody who expects a broken folder takes it for
    one.
    """


class StopRequest:
    """Set by SIGTERM and SIGINT, read between two forwards."""

    def __init__(self) -> None:
        self.requested = False

    _ends_at_once = _came = False

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._set)
        signal.signal(signal.SIGINT, self._set)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within the block there is nothing to save: a request ends it wherever it is. Raises `Stopped`."""
        if self._came:
            raise Stopped
        self._ends_at_once = True
        try:
            yield
        finally:
            self._ends_at_once = False

    def _set(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = self._came = True
        if self._ends_at_once:
            self._ends_at_once = False
            raise Stopped

    def raise_if_requested(self) -> None:
        if self.requested:
            raise Stopped


def prepare_environment() -> None:
    """Set what is read when torch is imported.

    Model folders are local, so nothing may wait for a network; cuBLAS needs a fixed workspace to be deterministic;
    threads that spin while they wait cost a factor of ten where the cores are shared.
    """
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", CUBLAS_WORKSPACE_CONFIG=":4096:8")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def libraries_are_loaded() -> None:
    """Collect garbage from here on, and never look for any in what the libraries are made of: millions of objects that
    live as long as the process. To look through them again and again takes a quarter of a process's start and end.

    Changes nothing where the collection of garbage goes on, as in a process that was there for something else.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def run(module: str, description: str, work: Callable[[Path, StopRequest], None]) -> int:
    """Parse the one argument, call `work(WORKDIR, stop)`, and turn its end into an exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("workdir", metavar="WORKDIR", type=Path, help="folder laid out as docs/workdir.md says")
    workdir: Path = parser.parse_args().workdir
    if not workdir.is_dir():
        print(f"WORKDIR {workdir} is no folder: stage a job first", file=sys.stderr)  # noqa: T201
        return REFUSED
    prepare_environment()
    end_with_lease(workdir.absolute())
    gc.disable()  # until `libraries_are_loaded`
    (workdir / "failure.json").unlink(missing_ok=True)
    stop = StopRequest()
    stop.listen()
    try:
        work(workdir.absolute(), stop)
    except Stopped:
        return STOPPED
    except Refusal as refusal:
        _tell(workdir, refusal.code, refusal.message)
        return REFUSED
    except OutOfMemory as shortage:
        _tell(workdir, "out_of_memory", shortage.message, **shortage.facts)
        return OUT_OF_MEMORY
    except Exception as error:
        if is_disk_full(error):
            _tell(workdir, "disk_full", disk_full_message(workdir))
            return DISK_FULL
        if is_out_of_memory(error):
            message = f"memory ran out ({first_line(error)}): lower micro_batch_size or max_length in recipe.json"
            _tell(workdir, "out_of_memory", message)
            return OUT_OF_MEMORY
        raise
    return DONE


@contextmanager
def whatever_the_rows(what: str, remedy: str) -> Iterator[None]:
    """Want of memory in the block is refused: fewer rows at once would not help there."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise Refusal("memory", f"{what} do not fit into memory ({first_line(error)}): {remedy}") from error


def disk_of(workdir: Path) -> str:
    return f"the disk that holds {workdir}"


def disk_full_message(workdir: Path) -> str:
    return (
        f"{disk_of(workdir)} is full: make room there and begin again, it continues from the last training checkpoint"
    )


def _tell(workdir: Path, code: str, message: str, **facts: Any) -> None:
    """On a full disk neither file nor stderr, which may go to one, need take it: the exit code has to do."""
    if os.environ.get("RANK", "0") != "0" and code != "out_of_memory":
        return  # of several ranks, the first one speaks; memory may run out on any
    failure = json.dumps({"code": code, "message": message, **facts}, ensure_ascii=False)
    with suppress(OSError):
        write_atomically(workdir / "failure.json", failure.encode())
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"{message}\n".encode())
