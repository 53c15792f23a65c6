"""`thumbwheel import FILE…`: files of events into the feedback log."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.connection import PATIENT_TRIES, AsJson, Project, connected
from app.cli.listing import as_table, console, print_json

if TYPE_CHECKING:
    from thumbwheel import Client

BATCH = 500
REASONS_SHOWN = 10


@dataclass
class Outcome:
    """What became of the lines of one file. `reasons`: how often which one was given, for rejected and silent lines."""

    file: str
    stored: int = 0
    replayed: int = 0
    rejected: int = 0
    silent: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def import_files(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="JSON lines, plain or gzipped.")],
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Send files of feedback: our events, or rows as TRL reads them. Doing it again stores nothing twice.

    Exit code 1 where lines were rejected and none was stored, now or before.
    """
    from app.feedback import importing

    # Read once before anything is sent: a file that breaks off is refused whole, and the bar knows its length.
    totals = {path: sum(1 for _ in importing.read(path)) for path in files}
    with connected(project, tries=PATIENT_TRIES) as client, _bar(sum(totals.values())) as advance:
        outcomes = [_imported(client, path, advance) for path in files]
    if as_table(as_json):
        _print(outcomes)
    else:
        print_json([vars(outcome) for outcome in outcomes])
    if any(outcome.rejected for outcome in outcomes) and not any(o.stored + o.replayed for o in outcomes):
        raise typer.Exit(1)


def _imported(client: "Client", path: Path, advance: Callable[[int], None]) -> Outcome:
    from app.feedback import importing

    outcome = Outcome(path.name)
    lines = importing.read(path)
    while items := list(islice(lines, BATCH)):
        for item in items:
            if isinstance(item, importing.Rejected):
                outcome.rejected += 1
                outcome.reasons[item.reason] += 1
            elif isinstance(item, importing.Silent):
                outcome.silent += 1
                outcome.reasons[item.reason] += 1
        receipt = client.record_many(item.event for item in items if isinstance(item, importing.Imported))
        outcome.stored += receipt.stored
        outcome.replayed += receipt.replayed
        outcome.rejected += receipt.rejected
        outcome.reasons.update(
            " ".join(filter(None, (answer.pointer, answer.error))) for answer in receipt.items if answer.error
        )
        advance(len(items))
    return outcome


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar with the time that is left, on stderr: stdout is for the result."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    said = Console(stderr=True)
    columns = (TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=said, transient=True, disable=not said.is_terminal) as bar:
        task = bar.add_task("importing", total=total)
        yield lambda lines: bar.advance(task, lines)


def _print(outcomes: list[Outcome]) -> None:
    from rich.table import Table

    table = Table("file", box=None, header_style="bold", pad_edge=False)
    for name in ("stored", "replayed", "rejected", "silent"):
        table.add_column(name, justify="right")
    for outcome in outcomes:
        counts = (outcome.stored, outcome.replayed, outcome.rejected, outcome.silent)
        table.add_row(outcome.file, *(f"{count:,}" for count in counts))
    console().print(table)
    reasons = sum((outcome.reasons for outcome in outcomes), Counter[str]())
    if not reasons:
        return
    console().print("\nrejected or silent because")
    for reason, count in reasons.most_common(REASONS_SHOWN):
        console().print(f"{count:>8,}  {reason}", markup=False)
    if len(reasons) > REASONS_SHOWN:
        console().print(f"          … and {len(reasons) - REASONS_SHOWN:,} other reasons; all of them with --json")
