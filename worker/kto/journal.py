"""What the trainer tells: progress, metrics, warnings, each a file of one JSON object a line; a bar where someone
watches.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from worker.kto.files import write_atomically

Phase = Literal["loading", "referencing", "training", "evaluating"]

#: Seconds between two lines of progress.jsonl within a phase.
PROGRESS_EVERY = 0.5


class Journal:
    def __init__(self, workdir: Path, *, writes: bool = True) -> None:
        """`writes`: False on all ranks but the first, which tell nothing."""
        self.workdir = workdir
        self._writes = writes
        self.metrics: list[dict[str, Any]] = []
        self._phase: Phase | None = None
        self._written_at = 0.0
        self._bar = Bar() if writes and sys.stdout.isatty() else None

    def continue_after(self, step: int) -> None:
        """Cut the lines of steps after `step`: a resumed run takes them again."""
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
            _append(self.workdir / "progress.jsonl", {"phase": phase, "done": done, "total": total, "at": at})
            self._phase, self._written_at = phase, now
        if self._bar:
            self._bar.show(phase, done, total, self.metrics[-1] if self.metrics else {})

    def metric(self, line: dict[str, Any]) -> None:
        if self._writes:
            _append(self.workdir / "metrics.jsonl", line)
        self.metrics.append(line)

    def warn(self, step: int, code: str, message: str) -> None:
        """Once per code and run."""
        if not self._writes:
            return
        path = self.workdir / "warnings.jsonl"
        if all(line["code"] != code for line in _lines(path)):
            _append(path, {"step": step, "code": code, "message": message})
            if self._bar:
                self._bar.say(message)

    def close(self) -> None:
        if self._bar:
            self._bar.close()


class Bar:
    """A progress bar with the time left, for a terminal."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        self._progress = Progress(
            TextColumn("{task.description:<11}", table_column=Column(no_wrap=True, min_width=11)),
            BarColumn(bar_width=10),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        self._progress.start()
        self._tasks: dict[str, Any] = {}

    def show(self, phase: str, done: int, total: int, metrics: Mapping[str, Any]) -> None:
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(phase, total=total, figures="")
        figures = _figures(metrics, wide=self._progress.console.width > 100) if metrics else ""
        self._progress.update(self._tasks[phase], completed=done, total=total, figures=figures)

    def say(self, message: str) -> None:
        self._progress.console.print(f"[yellow]{message}")

    def close(self) -> None:
        self._progress.stop()


def _figures(metrics: Mapping[str, Any], *, wide: bool) -> str:
    good, bad = (
        "–" if metrics[name] is None else f"{metrics[name]:.3g}" for name in ("reward_desirable", "reward_undesirable")
    )
    short = f"loss {metrics['loss']:.3g} rewards {good}/{bad} z0 {metrics['z0']:.3g}"
    return f"{short}, {metrics['tokens_per_second']:.0f} tokens/s" if wide else short


def _append(path: Path, line: Mapping[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of `path`; a last one that a kill cut short is left out."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]


def _cut(path: Path, step: int) -> list[dict[str, Any]]:
    kept = [line for line in _lines(path) if line["step"] <= step]
    if path.exists():
        write_atomically(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept).encode())
    return kept
