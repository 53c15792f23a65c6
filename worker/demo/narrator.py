"""Shows the story on a terminal, as sentences and bars on stderr, so that stdout holds only the result."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from thumbwheel import wire

Report = Callable[[int, int, str], None]  # done, total, and a note


class Narrator:
    def __init__(self, console: Console) -> None:
        self.console = console

    def headline(self, text: str) -> None:
        self.console.print(f"\n[bold]{text}[/bold]")

    def says(self, text: str) -> None:
        self.console.print(f"  {text}", highlight=False)

    @contextmanager
    def bar(self, title: str) -> Iterator[Report]:
        """Shows a progress bar with this title during the block."""
        columns = (
            TextColumn("  {task.description}"), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )  # fmt: skip
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(title, total=None, note="")

            def report(done: int, total: int, note: str) -> None:
                progress.update(task, completed=done, total=total or None, note=note)

            yield report


def sentence_of(run: wire.Run) -> str:
    """Returns the state of a run in one line: loss, rewards, z0, and the remaining time."""
    figures: dict[str, Any] = run.last_metrics or {}
    parts: list[str] = [run.state]
    if run.state == "training":
        names = {"loss": "loss", "reward_desirable": "reward 👍", "reward_undesirable": "reward 👎", "z0": "z0"}
        parts += [f"{names[key]} {figures[key]:.2f}" for key in names if figures.get(key) is not None]
    if run.eta_seconds is not None:
        parts.append(f"{run.eta_seconds:.0f} s left")
    return " · ".join(parts)
