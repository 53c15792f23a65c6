"""The supervisor reports and restarts children that die, and stops all of them on request."""

import signal
import sys
from collections.abc import Iterator

import pytest

from app import services
from app.services import supervisor
from app.services.supervisor import Supervisor

HELLO = "import time; print('hello', flush=True); time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


class Terminal:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def say(self, name: str, line: str) -> None:
        self.lines.append((name, line))

    def shows(self, name: str, line: str, times: int = 1) -> bool:
        return self.lines.count((name, line)) >= times


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


@pytest.fixture
def children(terminal) -> Iterator[Supervisor]:
    children = Supervisor(terminal.say)
    yield children
    children.stop(list(children.children), 0)


def test_lines_of_children_come_with_their_names(children, terminal):
    children.start("api", [sys.executable, "-c", HELLO], {})
    children.start("worker", [sys.executable, "-c", HELLO], {})

    assert services.wait_until(lambda: terminal.shows("api", "hello") and terminal.shows("worker", "hello"), 120)


def test_a_child_that_dies_is_said_and_started_again(children, terminal, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.01)
    children.start("api", [sys.executable, "-c", HELLO], {})
    assert services.wait_until(lambda: terminal.shows("api", "hello"), 120)

    children.kill("api")

    def back() -> bool:
        children.watch()
        return terminal.shows("api", "hello", times=2)

    assert services.wait_until(back, 120)
    assert terminal.shows("api", "was ended by SIGKILL; starting it again in 0 s")


def test_a_child_that_keeps_dying_is_started_later_each_time(children, terminal, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.01)
    children.start("api", [sys.executable, "-c", "raise SystemExit(3)"], {})

    def died_four_times() -> bool:
        children.watch()
        return children.children["api"].deaths >= 4

    assert services.wait_until(died_four_times, 120)
    child = children.children["api"]
    assert child.restart_at is not None
    assert child.restart_at - child.started >= 0.08
    assert terminal.shows("api", "ended by itself with exit code 3; starting it again in 0 s", times=4)


def test_stopping_asks_first_and_kills_who_does_not_listen(children, terminal):
    children.start("api", [sys.executable, "-c", HELLO], {})
    children.start("worker", [sys.executable, "-c", DEAF], {})
    assert services.wait_until(lambda: terminal.shows("api", "hello") and terminal.shows("worker", "deaf"), 120)
    api, worker = (children.children[name].process for name in ("api", "worker"))

    children.stop(["worker", "api"], 0.5)

    assert api.popen.returncode == -signal.SIGTERM
    assert worker.popen.returncode == -signal.SIGKILL
    assert terminal.shows("worker", "did not end within 0 s and was killed")
