"""Supervises child processes in one terminal: prefixes their lines, restarts dead ones, and stops all in order."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

from app.services.processes import Process

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 60.0  # after running this long, a process restarts without a longer pause

Say = Callable[[str, str], None]  # (name of the process, line)


@dataclass
class Child:
    name: str
    command: Sequence[str | Path]
    environment: Mapping[str, str]
    orphaned_with: Signals
    process: Process
    pump: threading.Thread
    started: float
    deaths: int = 0
    restart_at: float | None = field(default=None)


class Supervisor:
    """Starts, watches and stops children. Call every method from one thread: the children end with it."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.children: dict[str, Child] = {}

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        *,
        orphaned_with: Signals = signal.SIGTERM,
    ) -> None:
        """Starts a child. It gets `orphaned_with` when we die, and SIGTERM when we stop it."""
        process, pump = self._launch(name, command, environment, orphaned_with)
        self.children[name] = Child(name, command, environment, orphaned_with, process, pump, time.monotonic())

    def alive(self, name: str) -> bool:
        return self.children[name].process.alive()

    def kill(self, name: str) -> None:
        """Kills a child and its process group; `watch` starts it again."""
        self.children[name].process.kill()

    def watch(self) -> None:
        """Reports dead children, and restarts those whose pause is over. Call it about every second."""
        for child in self.children.values():
            now = time.monotonic()
            if child.restart_at is None and not child.process.alive():
                code = child.process.stop()
                steady = now - child.started > STEADY_SECONDS
                child.deaths = 1 if steady else child.deaths + 1
                pause = min(FIRST_PAUSE_SECONDS * 2 ** (child.deaths - 1), LONGEST_PAUSE_SECONDS)
                child.restart_at = now + pause
                self.say(child.name, f"{exit_reason(code)}; starting it again in {pause:.0f} s")
            elif child.restart_at is not None and now >= child.restart_at:
                child.process, child.pump = self._launch(
                    child.name, child.command, child.environment, child.orphaned_with
                )
                child.started, child.restart_at = now, None

    def stop(self, names: Sequence[str], seconds: float) -> None:
        """Signals these children to end, waits up to `seconds` for all of them, then kills the rest."""
        children = [self.children.pop(name) for name in names if name in self.children]
        try:
            for child in children:
                child.process.ask()
        finally:
            deadline = time.monotonic() + seconds
            for child in children:
                code = child.process.stop(max(0.0, deadline - time.monotonic()))
                child.pump.join(timeout=5)
                if code == -signal.SIGKILL:
                    self.say(child.name, f"did not end within {seconds:.0f} s and was killed")

    def _launch(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], orphaned_with: Signals
    ) -> tuple[Process, threading.Thread]:
        process = Process(name, command, output=subprocess.PIPE, environment=environment, orphaned_with=orphaned_with)
        pump = threading.Thread(target=self._pump, args=(name, process), name=f"lines of {name}", daemon=True)
        pump.start()
        return process, pump

    def _pump(self, name: str, process: Process) -> None:
        lines = process.popen.stdout
        assert lines is not None
        with lines:
            for line in lines:
                self.say(name, line.decode(errors="replace").rstrip())


def exit_reason(code: int) -> str:
    """Returns the way in which a process ended, as a predicate: "was ended by SIGKILL"."""
    return f"was ended by {Signals(-code).name}" if code < 0 else f"ended by itself with exit code {code}"
