"""Trainer and scorer are forked from a process that has imported their libraries, and behave like new processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import pytest

from app.services import Process, wait_until
from worker.children import warm_start
from worker.training.machine.process import REFUSED, STOPPED

pytestmark = pytest.mark.skipif(not warm_start._is_safe(), reason="this build of torch is never forked")

PATIENCE_SECONDS = 120
ENVIRONMENT = {**os.environ, "TOLD_TO_THE_TRAINER": "yes"}


def nothing() -> None:
    pass


@contextmanager
def started(workdir: Path, module: str = "worker.training.train", check=nothing, **limits: int) -> Iterator[Process]:
    with (workdir / "trainer.log").open("ab") as output:
        process = warm_start.start(
            "trainer", module, workdir, output=output, environment=ENVIRONMENT, limits=limits, check=check
        )
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets fork servers import nothing in advance, so that they start immediately."""
    monkeypatch.setattr(warm_start, "PRELOADED", ())
    monkeypatch.setattr(warm_start, "_server", None)
    yield
    warm_start.stop()


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """A WORKDIR without a job, in which a trainer waits until it is ended."""
    os.mkfifo(tmp_path / "job.json")
    return tmp_path


def read(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def sockets_of(pid: int) -> list[Path]:
    return [end for end in Path(f"/proc/{pid}/fd").iterdir() if os.readlink(end).startswith("socket:")]


def alive(pid: int) -> bool:
    try:
        return read(pid, "stat").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("module", sorted(warm_start.FORKED))
@pytest.mark.trial
def test_a_forked_process_says_and_ends_as_a_started_one(tmp_path: Path, module: str) -> None:
    usual = subprocess.run([sys.executable, "-m", module, tmp_path], capture_output=True)

    with started(tmp_path, module) as process:
        assert wait_until(lambda: not process.alive(), PATIENCE_SECONDS)
        assert process.stop() == usual.returncode == REFUSED

    assert usual.stderr
    assert (tmp_path / "trainer.log").read_bytes() == usual.stderr


@pytest.mark.usefixtures("light")
def test_a_forked_process_has_what_a_started_one_has(waiting: Path) -> None:
    with started(waiting, core=0, data=10**11) as process:
        assert os.getpgid(process.pid) == os.getsid(process.pid) == process.pid != os.getpgrp()
        assert int(read(process.pid, "stat").rpartition(")")[2].split()[1]) == os.getpid()
        assert read(process.pid, "cmdline").rstrip("\0 ") == f"{sys.executable} -m worker.training.train {waiting}"
        limits = {line[:26].strip(): line[26:].split()[:2] for line in read(process.pid, "limits").splitlines()}
        assert limits["Max core file size"] == ["0", "0"]
        assert limits["Max data size"] == [str(10**11)] * 2
        assert f"{waiting / 'trainer.log'}" == os.readlink(f"/proc/{process.pid}/fd/1")
        assert os.readlink(f"/proc/{process.pid}/fd/0") == os.devnull
        assert os.readlink(f"/proc/{process.pid}/cwd") == os.getcwd()
        assert "Umask:\t0077" in read(process.pid, "status")
        assert wait_until(lambda: not sockets_of(process.pid), PATIENCE_SECONDS)


@pytest.mark.trial
def test_no_thread_that_a_fork_would_lose_runs_in_the_fork_server(waiting: Path) -> None:
    with started(waiting):
        server = warm_start._server
    assert server is not None
    names = {(task / "comm").read_text().strip() for task in Path(f"/proc/{server.process.pid}/task").iterdir()}
    # jemalloc, a part of pyarrow, restarts its thread in the child.
    assert len(names - {"jemalloc_bg_thd"}) == 1


@pytest.mark.usefixtures("light")
def test_a_stop_reaches_a_forked_process(waiting: Path) -> None:
    with started(waiting) as process:
        assert process.stop(PATIENCE_SECONDS) in (STOPPED, -signal.SIGTERM)
        assert not alive(process.pid)


@pytest.mark.usefixtures("light")
def test_one_environment_is_what_the_process_and_its_libraries_have(waiting: Path) -> None:
    """Starts a process with another environment, which needs another server, as libraries read it at import."""
    with started(waiting):
        first = warm_start._server
    assert first is not None
    assert first.environment == ENVIRONMENT
    with (waiting / "trainer.log").open("ab") as output:
        other = warm_start.start(
            "trainer", "worker.training.train", waiting, output=output, environment=dict(os.environ), limits={},
            check=nothing,
        )  # fmt: skip
    other.kill()
    assert warm_start._server is not first
    assert not alive(first.process.pid)


@pytest.mark.usefixtures("light")
def test_the_death_of_the_fork_server_ends_no_trainer_and_the_next_one_is_forked_again(waiting: Path) -> None:
    with started(waiting) as process:
        server = warm_start._server
        assert server is not None
        os.kill(server.process.pid, signal.SIGKILL)
        assert wait_until(lambda: not server.process.alive(), PATIENCE_SECONDS)
        assert process.alive()
        with started(waiting) as second:
            assert second.alive()
            assert warm_start._server is not server


@pytest.mark.usefixtures("light")
def test_a_fork_server_that_cannot_start_leaves_processes_that_start_as_usual(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(warm_start, "PRELOADED", ("worker.no_such_module",))

    with started(tmp_path) as process:
        assert wait_until(lambda: not process.alive(), PATIENCE_SECONDS)
        assert process.stop() == REFUSED
    assert warm_start._server is None


@pytest.mark.usefixtures("light")
def test_a_build_of_torch_with_a_driver_is_never_forked(waiting: Path, monkeypatch) -> None:
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "2.13.0+cu128" if name == "torch" else version(name))

    with started(waiting) as process:
        assert process.alive()
        assert warm_start._server is None


class Interrupted(Exception):
    pass


@pytest.mark.usefixtures("light")
def test_a_wish_is_heeded_while_libraries_are_imported(tmp_path: Path) -> None:

    def check() -> None:
        raise Interrupted

    with pytest.raises(Interrupted), started(tmp_path, check=check):
        pass
    assert (tmp_path / "trainer.log").read_bytes() == b""


WORKER = """
import os, pathlib, sys, time
from worker.children import warm_start
warm_start.PRELOADED = ()
workdir = pathlib.Path(sys.argv[1])
process = warm_start.start("trainer", "worker.training.train", workdir, output=(workdir / "trainer.log").open("ab"),
                           environment=dict(os.environ), limits={}, check=lambda: None)
print(process.pid, warm_start._server.process.pid, flush=True)
time.sleep(600)
"""


def test_a_killed_worker_takes_its_trainer_and_its_fork_server_along(waiting: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WORKER, waiting], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        pids = [int(pid) for pid in worker.stdout.readline().split()]
        assert all(map(alive, pids))
        worker.kill()
    assert wait_until(lambda: not any(map(alive, pids)), PATIENCE_SECONDS)
