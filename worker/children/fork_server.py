"""Forks trainers and scorers from a process that has imported their libraries.

The command is `python -m worker.children.fork_server FD MODULE…`.
FD is a socket to the worker that started the server. The server answers READY once MODULES are imported, then takes
one message per process: a `ForkRequest` as JSON with two file descriptors, the output file and a socket for the new
process. It ends when the worker closes its end, or after IDLE_SECONDS without a request.

The new process is not a child of the server but of the worker, which adopts it. It sends its process id, runs
`python -m MODULE WORKDIR` once the worker answers, and ends without a word if the worker closes the socket instead.
"""

import gc
import json
import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module

from app.services.die_with_parent import end_with_parent, limit
from worker.training.machine.process import prepare_environment

READY, GO = b"ready", b"go"
MESSAGE_BYTES = 1 << 20
#: The memory of the libraries is not kept for longer than this by a worker without runs.
IDLE_SECONDS = 600.0
ADOPTION_SECONDS = 30.0


@dataclass(frozen=True)
class ForkRequest:
    module: str
    workdir: str
    parent: int  # process id of the worker
    folder: str
    environment: Mapping[str, str]
    limits: Mapping[str, int]

    def encoded(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def preload(modules: Sequence[str]) -> None:
    prepare_environment()
    gc.disable()
    for name in modules:
        import_module(name)

    # Of the extra `worker`, which a worker for housekeeping alone lacks. Its first call looks for the memory of the
    # arguments, which it does not find after a change of the environment.
    from setproctitle import getproctitle

    getproctitle()
    gc.freeze()


def serve(channel: socket.socket) -> ForkRequest | None:
    """Returns None in the server when it is no longer needed, and the request in each process that it has forked."""
    channel.settimeout(IDLE_SECONDS)
    while True:
        try:
            message, descriptors, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 2)
        except TimeoutError:
            return None
        if not message:
            return None
        output, own = descriptors
        intermediate = os.fork()
        if intermediate == 0:
            if os.fork() != 0:
                os._exit(0)  # the worker adopts what it leaves
            channel.close()
            with socket.socket(fileno=own) as worker:
                request = ForkRequest(**json.loads(message))
                become(request, output, worker)
            return request
        os.waitpid(intermediate, 0)
        os.close(output)
        os.close(own)


def become(request: ForkRequest, output: int, worker: socket.socket) -> None:
    """Gives this process what `app.services.Process` gives a child: session, output, environment, limits, an end
    together with its parent. Exits unless the worker adopts it and answers.
    """
    os.setsid()
    os.umask(0o077)
    os.chdir(request.folder)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(request.environment)
    for name, most in request.limits.items():
        limit(name, most)
    deadline = time.monotonic() + ADOPTION_SECONDS
    while os.getppid() != request.parent:
        if time.monotonic() > deadline:
            os._exit(1)
        time.sleep(0.001)
    end_with_parent(signal.SIGKILL)
    if os.getppid() != request.parent:
        os._exit(1)
    from setproctitle import setproctitle

    setproctitle(f"{sys.executable} -m {request.module} {request.workdir}")
    worker.sendall(str(os.getpid()).encode())
    if worker.recv(len(GO)) != GO:
        os._exit(1)


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    preload(sys.argv[2:])
    channel.send(READY)
    request = serve(channel)
    if request is not None:
        sys.argv = [request.module, request.workdir]
        runpy.run_module(request.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
