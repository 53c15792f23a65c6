"""Records the trainer's progress, metrics and warnings, each in a file with one JSON object a line.

In a terminal it also shows a progress bar.
"""

import errno
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from app.durable import write_atomically
from worker.training.files import sealed

Phase = Literal["loading", "referencing", "training", "evaluating"]

#: Seconds between two lines of progress.jsonl within a phase.
PROGRESS_EVERY = 0.5
#: Seconds from which the remaining time is estimated, and steps from which the speed is: a step may take half a minute.
SPEED_SECONDS, SPEED_STEPS = 600, 10


class Journal:
    def __init__(self, workdir: Path, *, writes: bool = True) -> None:
        """Opens the journal of `workdir`. `writes` is False on all ranks but the first: those record nothing."""
        self.workdir = workdir
        self._writes = writes
        self.metrics: list[dict[str, Any]] = []
        self._phase: Phase | None = None
        self._written_at = 0.0
        self._bar = ProgressBar() if writes and sys.stdout.isatty() else None
        self._damage = DamageHandler(self)
        sealed.log.addHandler(self._damage)

    def continue_after(self, step: int) -> None:
        """Removes the lines of steps after `step`, which a resumed run takes again."""
        if not self._writes:
            return
        self.metrics = _cut(self.workdir / "metrics.jsonl", step)
        _cut(self.workdir / "warnings.jsonl", step)

    def progress(self, phase: Phase, done: int, total: int) -> None:
        if not self._writes:
            return
        now = time.monotonic()
        if phase != self._phase or done == total or now - self._written_at >= PROGRESS_EVERY:
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            append(self.workdir / "progress.jsonl", {"phase": phase, "done": done, "total": total, "at": at})
            self._phase, self._written_at = phase, now
        if self._bar:
            self._bar.show(phase, done, total, self.metrics)

    def metric(self, line: dict[str, Any]) -> None:
        if self._writes:
            append(self.workdir / "metrics.jsonl", line)
        self.metrics.append(line)

    def warn(self, step: int, code: str, message: str, *, again: bool = False) -> None:
        """Records a warning once per code and run, or, with `again`, once per message."""
        if not self._writes:
            return
        path = self.workdir / "warnings.jsonl"
        if all(line["code"] != code or (again and line["message"] != message) for line in lines(path)):
            append(path, {"step": step, "code": code, "message": message})
            if self._bar:
                self._bar.say(message)

    def close(self) -> None:
        sealed.log.removeHandler(self._damage)
        if self._bar:
            self._bar.close()


class DamageHandler(logging.Handler):
    """Adds a warning to the journal for each damaged file that is rebuilt."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        self._journal.warn(0, "file_damaged", record.getMessage(), again=True)


class ProgressBar:
    """A progress bar for a terminal: a line per phase with the remaining time, then the newest step's figures."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column
        from rich.text import Text

        class WithFigures(Progress):
            figures = ""

            def get_renderables(self) -> Iterator[Any]:
                yield self.make_tasks_table(self.tasks)
                if self.figures:
                    yield Text(self.figures, no_wrap=True, overflow="ellipsis")

        self._progress = WithFigures(
            TextColumn("{task.description:<11}", table_column=Column(no_wrap=True, min_width=11)),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[speed]}", table_column=Column(no_wrap=True)),
            speed_estimate_period=SPEED_SECONDS,
        )
        self._progress.start()
        self._tasks: dict[str, Any] = {}

    def show(self, phase: str, done: int, total: int, metrics: Sequence[Mapping[str, Any]]) -> None:
        """Updates the bar of `phase`; `metrics` are the lines of all steps so far."""
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(phase, total=total, speed="")
        speed = f"{tokens_per_second(metrics):,.0f} tokens/s" if phase == "training" and metrics else ""
        self._progress.figures = figures(metrics)
        self._progress.update(self._tasks[phase], completed=done, total=total, speed=speed)

    def say(self, message: str) -> None:
        self._progress.console.print(message, style="yellow", markup=False, highlight=False)

    def close(self) -> None:
        self._progress.stop()


def tokens_per_second(metrics: Sequence[Mapping[str, Any]]) -> float:
    """Returns the mean speed of the last `SPEED_STEPS` steps: single steps differ by the lengths of their rows."""
    last = metrics[-SPEED_STEPS:]
    return sum(line["tokens_per_second"] * line["seconds"] for line in last) / sum(line["seconds"] for line in last)


def figures(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Returns, as text, the loss, rewards and z0 of the newest step and the newest drift, if they exist."""
    if not metrics:
        return ""
    newest = metrics[-1]
    drift = next((kl for line in reversed(metrics) if (kl := line.get("kl_nats_per_token")) is not None), None)
    parts = [f"loss {newest['loss']:.3g}"]
    rewards = [newest[name] for name in ("reward_desirable", "reward_undesirable")]
    if rewards != [None, None]:
        up, down = ("–" if reward is None else f"{reward:.3g}" for reward in rewards)
        parts.append(f"rewards {up} desirable, {down} undesirable")
    parts += [f"{name} {value:.3g}" for name, value in (("z0", newest["z0"]), ("KL", drift)) if value is not None]
    return "  ".join(parts)


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Appends the whole line, or, on a full disk, nothing of it."""
    content = (json.dumps(line, ensure_ascii=False) + "\n").encode()
    with path.open("ab", buffering=0) as file:
        begins = file.tell()
        try:
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(begins)
            raise


def lines(path: Path) -> list[dict[str, Any]]:
    """Returns the complete lines of `path`, without damaged ones and without a last one that a kill cut short."""
    if not path.exists():
        return []
    result = []
    for line in path.read_bytes().splitlines(keepends=True):
        with suppress(ValueError):  # training does not depend on these files
            if line.endswith(b"\n") and isinstance(content := json.loads(line), dict):
                result.append(content)
    return result


def _cut(path: Path, step: int) -> list[dict[str, Any]]:
    kept = [line for line in lines(path) if line["step"] <= step]
    if path.exists():
        write_atomically(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept).encode())
    return kept
