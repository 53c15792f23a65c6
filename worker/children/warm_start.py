"""Starts trainer and scorer: forked from a process that has imported their libraries, where that is safe.

Importing torch, transformers and peft takes seconds of processor time, for the trainer and once more for the scorer. A
fork server (`worker.children.fork_server`) imports them once per worker.

A CUDA driver does not survive a fork, so this happens on Linux with the CPU build of torch alone. Everywhere else, and
whenever the fork server does not answer, a process is started as usual.
"""

import atexit
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import IO

from app.errors import Unavailable
from app.services import Process
from worker.children.fork_server import GO, READY, ForkRequest

log = logging.getLogger(__name__)

FORKED = frozenset({"worker.training.train", "worker.evaluation.score"})
#: Everything that both import once their job is read.
PRELOADED = (
    "worker.training.prepare",
    "worker.training.watch.drift",
    "worker.training.watch.notices_at_start",
    "worker.training.watch.step_metrics",
    "worker.training.watch.guards",
    "worker.training.watch.class_gradients",
    "worker.training.reference_scoring",
    "worker.training.schedule",
    "worker.training.training_output",
    "worker.training.watch.curves",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "worker.evaluation.passes",
    "worker.evaluation.replay",
    "worker.evaluation.sampling",
    "worker.evaluation.few_shots",
    "app.statistics.bootstrap",
    "worker.evaluation.dumb_readers",
    "worker.evaluation.suspicion",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sklearn.pipeline",
    "sklearn.feature_extraction.text",
    "cleanlab.rank",
)
POLL_SECONDS = 0.1
ANSWER_SECONDS = 60.0
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class NoAnswer(Exception):
    """The fork server has ended, or does not answer."""


class ForkServer:
    def __init__(self, environment: Mapping[str, str]) -> None:
        """Raises `Unavailable` if it cannot be started."""
        self.environment = dict(environment)
        self.ready = False
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(POLL_SECONDS)
        with theirs:
            self.process = Process(
                "fork server",
                [sys.executable, "-m", "worker.children.fork_server", str(theirs.fileno()), *PRELOADED],
                output=subprocess.DEVNULL,
                environment=self.environment,
                orphaned_with=signal.SIGKILL,
                inherits=[theirs.fileno()],
            )

    def stop(self) -> None:
        self.channel.close()
        self.process.kill()

    def wait_ready(self, check: Callable[[], None]) -> None:
        """Waits until it has imported everything. Raises `NoAnswer`, and what `check` raises meanwhile."""
        while not self.ready:
            check()
            with suppress(TimeoutError):
                if self.channel.recv(len(READY)) != READY:
                    raise NoAnswer
                self.ready = True

    def fork(self, name: str, request: ForkRequest, output: IO[bytes]) -> Process:
        """Returns a new process, a child of this one. Raises `NoAnswer`."""
        own, theirs = socket.socketpair()
        own.settimeout(ANSWER_SECONDS)
        with own, _adopting():
            try:
                with theirs:
                    socket.send_fds(self.channel, [request.encoded()], [output.fileno(), theirs.fileno()])
                answer = own.recv(20)
            except OSError as error:
                raise NoAnswer from error
            if not answer:
                raise NoAnswer
            process = Process.adopted(name, int(answer))
            with suppress(OSError):  # it has ended already, as its exit code says
                own.sendall(GO)
            return process


_lock = threading.Lock()
_server: ForkServer | None = None


def start(
    name: str,
    module: str,
    workdir: Path,
    *,
    output: IO[bytes],
    environment: Mapping[str, str],
    limits: Mapping[str, int],
    check: Callable[[], None],
) -> Process:
    """Returns the new process `python -m MODULE WORKDIR`, in a session of its own, which is killed when this one ends.

    check  called while libraries are imported; what it raises ends the wait, and no process is started
    """
    if module in FORKED and _is_safe():
        request = ForkRequest(module, str(workdir), os.getpid(), os.getcwd(), environment, limits)
        try:
            with _lock:
                return _fork(name, request, output, check)
        except (NoAnswer, Unavailable):
            log.warning("the fork server does not answer: the %s imports its libraries itself", name)
    return Process(
        name,
        [sys.executable, "-m", module, workdir],
        output=output,
        environment=environment,
        orphaned_with=signal.SIGKILL,
        limits=limits,
    )


@atexit.register
def stop() -> None:
    """Ends the fork server, if there is one; the next start begins another."""
    global _server
    if _server is not None:
        _server.stop()
        _server = None


def _fork(name: str, request: ForkRequest, output: IO[bytes], check: Callable[[], None]) -> Process:
    """Raises `NoAnswer`, `Unavailable`, and what `check` raises."""
    global _server
    if _server is not None and not (_server.process.alive() and _server.environment == request.environment):
        stop()
    if _server is None:
        _server = ForkServer(request.environment)
    try:
        _server.wait_ready(check)
        return _server.fork(name, request, output)
    except NoAnswer:
        stop()
        raise


def _is_safe() -> bool:
    """Returns whether torch is a CPU build: then no driver of an accelerator is initialised before a fork."""
    try:
        return sys.platform == "linux" and metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return False


@contextmanager
def _adopting() -> Iterator[None]:
    """Makes this process, instead of init, the parent of processes whose own parent ends during the block."""
    prctl = ctypes.CDLL(None).prctl
    if prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise NoAnswer
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
