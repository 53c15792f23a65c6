"""The progress bar during the runs, and the table of faults at the end."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

WIDTH = 30
#: Seconds between two lines if stderr is not a terminal.
LINE_SECONDS = 20.0


@dataclass
class Bar:
    total: int
    counted: str = "runs"
    sink: IO[str] = field(default_factory=lambda: sys.stderr)
    begun: float = field(default_factory=time.monotonic)
    shown: float = 0.0

    def show(self, done: int, faults: int, now: str, *, last: bool = False) -> None:
        """Updates the bar; `now` names the processes and resources that are away at the moment."""
        live = self.sink.isatty()
        at = time.monotonic()
        if not last and at - self.shown < (0.5 if live else LINE_SECONDS):
            return
        self.shown = at
        filled = WIDTH * min(done, self.total) // self.total
        passed = at - self.begun
        left = _clock(passed * (self.total - done) / done) if done else "?"
        line = (
            f"[{'█' * filled}{'·' * (WIDTH - filled)}] {done}/{self.total} {self.counted}  {faults} faults  "
            f"{_clock(passed)}, {left} left  {now}"
        )
        self.sink.write(f"\r\x1b[2K{line[:150]}" if live else f"{line}\n")
        if live and last:
            self.sink.write("\n")
        self.sink.flush()


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def table(by_fault: Mapping[str, Mapping[str, Any]]) -> str:
    """Formats the outcomes of each fault as a Markdown table."""
    if not by_fault:
        return "no fault struck"
    heads = ["fault", *next(iter(by_fault.values()))]
    lines = [heads, *([fault, *map(str, row.values())] for fault, row in by_fault.items())]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    shown = [
        "| " + " | ".join(text.ljust(width) if not column else text.rjust(width) for column, (text, width) in pairs)
        + " |"
        for pairs in (enumerate(zip(line, widths, strict=True)) for line in lines)
    ]  # fmt: skip
    rule = "|" + "|".join("-" * (width + 1) + ("-" if not column else ":") for column, width in enumerate(widths)) + "|"
    return "\n".join([shown[0], rule, *shown[1:]])
