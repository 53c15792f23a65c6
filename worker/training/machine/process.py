"""The common frame of trainer and scorer as processes: exit codes, refusals, requests to stop.

It imports nothing heavy, so `--help` and a wrong WORKDIR are answered immediately.

    TrainingRefusal   an expected failure: failure.json, one sentence on stderr, exit 2
    OutOfMemory       a smaller micro-batch may fit: failure.json with the number of rows, one sentence, exit 71
    a full disk       nothing that was saved is lost: one sentence, failure.json if there is room, exit 73
    Stopped           after SIGTERM or Ctrl-C with the state saved: exit 75, start again to continue
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

#: Exit codes. Those above 2 are from sysexits.h: EX_OSERR, EX_CANTCREAT, EX_TEMPFAIL.
DONE, REFUSED, OUT_OF_MEMORY, DISK_FULL, STOPPED = 0, 2, 71, 73, 75


class TrainingRefusal(Exception):
    """An expected failure. The message names what happened, the field, and the remedy."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class OutOfMemory(Exception):
    """Memory ran out in a micro-batch. `facts` go into failure.json, for the supervisor that restarts the process."""

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


def first_line(error: BaseException) -> str:
    """Returns the first line of another library's error, for use inside a sentence."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".:")[:300]


class Stopped(BaseException):
    """A stop was requested, and everything needed to continue is on disk.

    It is not an Exception: it may be raised at any moment (`StopRequest.at_once`), and code that catches the errors of
    a broken folder must not catch it.
    """


class StopRequest:
    """A request to stop, set by SIGTERM and SIGINT and read between two forwards."""

    def __init__(self) -> None:
        self.requested = False

    _ends_at_once = _came = False

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._set)
        signal.signal(signal.SIGINT, self._set)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Lets a request end the block at any point, as it has nothing to save. Raises `Stopped`."""
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
    """Sets the environment variables that are read when torch is imported.

    Model folders are local, so nothing may wait for a network; cuBLAS needs a fixed workspace to be deterministic;
    threads that spin while they wait cost a factor of ten on shared cores.
    """
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", CUBLAS_WORKSPACE_CONFIG=":4096:8")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def libraries_are_loaded() -> None:
    """Starts garbage collection, without the objects of the libraries that are loaded by now.

    These are millions and live as long as the process; scanning them takes a quarter of a process's start and end.
    Nothing changes if garbage is collected already, as in a process that began with another task.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def run(module: str, description: str, work: Callable[[Path, StopRequest], None]) -> int:
    """Parses the only argument, calls `work(WORKDIR, stop)` and returns the exit code for its end."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("workdir", metavar="WORKDIR", type=Path, help="folder as described in docs/workdir.md")
    workdir: Path = parser.parse_args().workdir
    if not workdir.is_dir():
        print(f"WORKDIR {workdir} is not a folder: stage a job first", file=sys.stderr)  # noqa: T201
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
    except TrainingRefusal as refusal:
        _report(workdir, refusal.code, refusal.message)
        return REFUSED
    except OutOfMemory as shortage:
        _report(workdir, "out_of_memory", shortage.message, **shortage.facts)
        return OUT_OF_MEMORY
    except Exception as error:
        if is_disk_full(error):
            _report(workdir, "disk_full", disk_full_message(workdir))
            return DISK_FULL
        if is_out_of_memory(error):
            message = f"memory ran out ({first_line(error)}): lower micro_batch_size or max_length in recipe.json"
            _report(workdir, "out_of_memory", message)
            return OUT_OF_MEMORY
        raise
    return DONE


@contextmanager
def whatever_the_rows(what: str, remedy: str) -> Iterator[None]:
    """Raises `TrainingRefusal` if memory runs out in the block, where fewer rows in a micro-batch would not help."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingRefusal("memory", f"{what} do not fit into memory ({first_line(error)}): {remedy}") from error


def disk_of(workdir: Path) -> str:
    return f"the disk that holds {workdir}"


def disk_full_message(workdir: Path) -> str:
    return (
        f"{disk_of(workdir)} is full: make room there and start again, it continues from the last training checkpoint"
    )


def _report(workdir: Path, code: str, message: str, **facts: Any) -> None:
    """Writes a failure to failure.json and stderr.

    On a full disk both may fail, as stderr may be a file too; the exit code is then the only report.
    """
    if os.environ.get("RANK", "0") != "0" and code != "out_of_memory":
        return  # only the first of several ranks reports, except that memory may run out on any
    failure = json.dumps({"code": code, "message": message, **facts}, ensure_ascii=False)
    with suppress(OSError):
        write_atomically(workdir / "failure.json", failure.encode())
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"{message}\n".encode())
