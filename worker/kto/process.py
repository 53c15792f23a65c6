"""What trainer and scorer share as processes: exit codes, refusals, the wish to stop.

Imports nothing heavy: `--help` and a wrong WORKDIR are answered at once.

    Refusal   an expected failure: failure.json, one sentence on stderr, exit 2
    Stopped   SIGTERM or Ctrl-C came and the state is saved: exit 75, call again to continue
    anything else is a crash with a traceback
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from worker.kto.files import write_atomically

DONE, REFUSED, STOPPED = 0, 2, 75


class Refusal(Exception):
    """An expected failure. The message names what happened, the field, and the remedy."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def first_line(error: Exception) -> str:
    """Of another library's error, to be said inside a sentence."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".:")[:300]


class Stopped(Exception):
    """Asked to stop; everything needed to continue is on disk."""


class StopRequest:
    """Set by SIGTERM and SIGINT, read between two forwards."""

    def __init__(self) -> None:
        self.requested = False

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._set)
        signal.signal(signal.SIGINT, self._set)

    def _set(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True

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


def run(module: str, description: str, work: Callable[[Path, StopRequest], None]) -> int:
    """Parse the one argument, call `work(WORKDIR, stop)`, and turn its end into an exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("workdir", metavar="WORKDIR", type=Path, help="folder laid out as docs/architecture.md says")
    workdir: Path = parser.parse_args().workdir
    if not workdir.is_dir():
        print(f"WORKDIR {workdir} is no folder: stage a job first", file=sys.stderr)  # noqa: T201
        return REFUSED
    prepare_environment()
    (workdir / "failure.json").unlink(missing_ok=True)
    stop = StopRequest()
    stop.listen()
    try:
        work(workdir.absolute(), stop)
    except Stopped:
        return STOPPED
    except Refusal as refusal:
        if os.environ.get("RANK", "0") == "0":  # of several ranks, the first one speaks
            failure = json.dumps({"code": refusal.code, "message": refusal.message}, ensure_ascii=False)
            write_atomically(workdir / "failure.json", failure.encode())
            print(refusal.message, file=sys.stderr)  # noqa: T201
        return REFUSED
    return DONE
