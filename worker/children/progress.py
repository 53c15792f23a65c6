"""Follows the progress files that trainer and scorer write in WORKDIR, and turns them into reports."""

import json
import os
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from app.runs.leases.service import Report
from app.runs.states import STATE_OF_PHASE, RunState
from worker.training.files.sealed import read_cache

#: Codes of warnings that also belong in the run's history, because they report an event.
NOTED = ("state_damaged", "file_damaged")


class Lines:
    """The new complete lines of a file of JSON objects. A file that was replaced is read from its beginning."""

    def __init__(self, path: Path, *, from_its_end: bool = False) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        self._part = b""
        if from_its_end and path.exists():
            self._file = path.open("rb")
            self._file.seek(0, os.SEEK_END)

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """Returns the new lines, and whether they begin the file, so that earlier lines no longer count."""
        try:
            inode = self.path.stat().st_ino
        except FileNotFoundError:
            return [], False
        replaced = self._file is None or os.fstat(self._file.fileno()).st_ino != inode
        if replaced:
            # The old file is kept open until here, so that its number cannot be given to the new one.
            self.close()
            self._file, self._part = self.path.open("rb"), b""
        assert self._file is not None
        *whole, self._part = (self._part + self._file.read()).split(b"\n")
        return [content for line in whole if (content := _content(line)) is not None], replaced

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _content(line: bytes) -> dict[str, Any] | None:
    """Returns the object in a line, or None if the line is damaged."""
    try:
        # Postgres has no NaN in JSON; the trainer writes none.
        content = json.loads(line, parse_constant=lambda _: None)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


class Follower:
    """Turns a WORKDIR's progress.jsonl, metrics.jsonl, warnings.jsonl and dropped-by-reason.json into reports."""

    def __init__(self, workdir: Path) -> None:
        self._progress = Lines(workdir / "progress.jsonl", from_its_end=True)
        self._metrics = Lines(workdir / "metrics.jsonl")
        self._warnings = Lines(workdir / "warnings.jsonl")
        self._messages: list[str] = []
        self.notes: list[str] = []  # for the run's history, not sent yet
        with closing(Lines(workdir / "warnings.jsonl")) as before:
            self._noted = {line["message"] for line in before.read()[0]}
        self._began: Mapping[str, Any] | None = None  # the first line of the phase
        self._now: Mapping[str, Any] | None = None
        self._unsent: list[dict[str, Any]] = []
        self._sent_warnings = 0
        self._sent_progress: Mapping[str, Any] | None = None
        self._dropped = workdir / "dropped-by-reason.json"
        self._dropped_rows: list[dict[str, Any]] | None = None
        self._sent_dropped_rows: list[dict[str, Any]] | None = None

    @property
    def state(self) -> RunState | None:
        """The run's state in the newest phase."""
        return STATE_OF_PHASE[self._now["phase"]] if self._now else None

    def read(self) -> bool:
        """Reads the new lines; returns whether there is anything to send."""
        for line in self._progress.read()[0]:
            if self._now is None or line["phase"] != self._now["phase"]:
                self._began = line
            self._now = line
        lines, replaced = self._metrics.read()
        self._unsent = lines if replaced else self._unsent + lines
        lines, replaced = self._warnings.read()
        if replaced:
            self._messages, self._sent_warnings = [], -1
        self._messages += [line["message"] for line in lines]
        self.notes += [
            line["message"] for line in lines if line["code"] in NOTED and line["message"] not in self._noted
        ]
        self._noted.update(self.notes)
        if self._dropped_rows is None and (content := read_cache(self._dropped)) is not None:
            self._dropped_rows = json.loads(content)
        return (
            bool(self._unsent)
            or self._sent_warnings != len(self._messages)
            or self._sent_progress is not self._now
            or self._sent_dropped_rows is not self._dropped_rows
        )

    def report(self, state: RunState) -> Report:
        """Returns a report of everything unsent; progress is included only if its phase matches the run's state."""
        shown = self._now if self.state is state else None
        return Report(
            done=shown["done"] if shown else None,
            total=shown["total"] if shown else None,
            eta_seconds=self._seconds_left() if shown else None,
            metrics=self._unsent,
            warnings=self._messages if self._sent_warnings != len(self._messages) else None,
            dropped_rows=self._dropped_rows if self._sent_dropped_rows is not self._dropped_rows else None,
        )

    def sent(self) -> None:
        """Records that the last report has arrived."""
        self._unsent, self._sent_warnings, self._sent_progress = [], len(self._messages), self._now
        self._sent_dropped_rows = self._dropped_rows
        self.notes = []

    def close(self) -> None:
        for lines in (self._progress, self._metrics, self._warnings):
            lines.close()

    def _seconds_left(self) -> float | None:
        """Returns the remaining seconds of this phase at its pace so far, or None if nothing is done yet."""
        assert self._began is not None
        assert self._now is not None
        done = self._now["done"] - self._began["done"]
        passed = datetime.fromisoformat(self._now["at"]) - datetime.fromisoformat(self._began["at"])
        left = self._now["total"] - self._now["done"]
        return left * passed.total_seconds() / done if done > 0 else None
