"""`thumbwheel import FILE…`: files of events into the feedback log."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.connection import PATIENT_TRIES, AsJson, Project, connected
from app.cli.listing import as_table, console, print_json

if TYPE_CHECKING:
    from thumbwheel import Client

    from app.feedback.importing import Imported

BATCH = 500
REASONS_SHOWN = 10
LINES_SHOWN = 3
_WAITING = "what waits in quarantine is not known yet, as the log is being read: `thumbwheel readiness` says it soon"


@dataclass
class Outcome:
    """The outcome of the lines of one file.

    reasons       how often each reason was given, for rejected and silent lines
    says_nothing  those of them that are given for silent lines
    not_trained   how often each reason was given for which no run would learn from an event that is stored
    ignored       how many rows have each field that no event keeps
    first_lines   the first few lines of each reason
    """

    file: str
    stored: int = 0
    replayed: int = 0
    rejected: int = 0
    silent: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    says_nothing: Counter[str] = field(default_factory=Counter)
    not_trained: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    first_lines: dict[str, list[int]] = field(default_factory=dict)
    rejects: list[dict[str, Any]] = field(default_factory=list)

    def reject(self, line: int, reason: str, *, keep: bool) -> None:
        self.rejected += 1
        self._count(line, reason)
        if keep:
            self.rejects.append({"file": self.file, "line": line, "reason": reason})

    def pass_over(self, line: int, reason: str) -> None:
        self.silent += 1
        self.says_nothing[reason] += 1
        self._count(line, reason)

    def take(self, item: "Imported") -> None:
        """Counts what an event that is sent loses, or will not be used for."""
        self.ignored.update(item.ignored)
        if item.fault is not None:
            self.not_trained[item.fault.sentence] += 1
            self._name(item.line, item.fault.sentence)

    def document(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "rejects"}

    def _count(self, line: int, reason: str) -> None:
        self.reasons[reason] += 1
        self._name(line, reason)

    def _name(self, line: int, reason: str) -> None:
        lines = self.first_lines.setdefault(reason, [])
        if len(lines) < LINES_SHOWN:
            lines.append(line)


def import_files(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="JSON lines, plain or gzipped; - is stdin.")],
    project: Project = None,
    dry_run: Annotated[bool, typer.Option(help="Say what would be stored; send nothing.")] = False,
    rejects: Annotated[Path | None, typer.Option(metavar="FILE", help="Write rejected lines' numbers here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send files of feedback: our events, or rows as TRL reads them. Doing it again stores nothing twice.

    Exit codes: 0 where nothing was rejected; 1 where some lines were; 2 where no line was understood, a file cannot
    be read or the command is used wrongly.
    """
    from app.feedback import importing

    with TemporaryDirectory() as folder:
        paths = [_stdin_in(Path(folder)) if str(path) == "-" else path for path in files]
        # Read once before anything is sent: a file that breaks off is refused whole, and the bar knows its length.
        totals = [sum(1 for _ in importing.read(path)) for path in paths]
        with ExitStack() as stack:
            client = None if dry_run else stack.enter_context(connected(project, tries=PATIENT_TRIES))
            advance = stack.enter_context(_bar(sum(totals)))
            outcomes = [_imported(client, path, advance, keep=rejects is not None) for path in paths]
            notice = None if client is None else _quarantine_notice(client)
    if notice is not None:
        from rich.console import Console

        Console(stderr=True, highlight=False).print(notice, markup=False, soft_wrap=True)
    if rejects is not None:
        lines = [json.dumps(reject) + "\n" for outcome in outcomes for reject in outcome.rejects]
        rejects.write_text("".join(lines))
    if as_table(as_json):
        _print(outcomes, dry_run=dry_run)
    else:
        print_json([outcome.document() for outcome in outcomes])
    if any(outcome.rejected for outcome in outcomes):
        raise typer.Exit(1 if any(o.stored + o.replayed + o.silent for o in outcomes) else 2)


def _stdin_in(folder: Path) -> Path:
    """Returns a file with all of stdin: it is read twice."""
    path = folder / "stdin"
    if not path.exists():
        with path.open("wb") as file:
            copyfileobj(sys.stdin.buffer, file)
    return path


def _imported(client: "Client | None", path: Path, advance: Callable[[int], None], *, keep: bool) -> Outcome:
    """Sends the events of a file, or counts them as stored where there is no client."""
    from app.feedback import importing

    outcome = Outcome(path.name)
    lines = importing.read(path)
    while items := list(islice(lines, BATCH)):
        for item in items:
            if isinstance(item, importing.Rejected):
                outcome.reject(item.line, item.reason, keep=keep)
            elif isinstance(item, importing.Silent):
                outcome.pass_over(item.line, item.reason)
        events = [item for item in items if isinstance(item, importing.Imported)]
        for item in events:
            outcome.take(item)
        if client is None:
            outcome.stored += len(events)
        else:
            receipt = client.events.record_many(item.event for item in events)
            outcome.stored += receipt.stored
            outcome.replayed += receipt.replayed
            for answer in receipt.items:
                if answer.error:
                    reason = " ".join(filter(None, (answer.pointer, answer.error)))
                    outcome.reject(events[answer.index].line, reason, keep=keep)
        advance(len(items))
    return outcome


def _quarantine_notice(client: "Client") -> str | None:
    """Returns what waits in quarantine, where the key may read it; of a long log as the loop read it last."""
    from thumbwheel import ApiError, ClientError

    try:
        readiness = client.projects.readiness()
    except ApiError as error:
        return _WAITING if error.code == "readiness_pending" else None
    except ClientError:  # the key may be one that writes feedback alone, and everything is stored
        return None
    if readiness.quarantine is None or not readiness.quarantine.votes:
        return None
    return next((notice for notice in readiness.notices if "in quarantine" in notice), None)


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


def _print(outcomes: list[Outcome], *, dry_run: bool) -> None:
    from rich.table import Table

    table = Table("file", box=None, header_style="bold", pad_edge=False)
    for name in ("would be stored" if dry_run else "stored", "replayed", "rejected", "says nothing"):
        table.add_column(name, justify="right")
    for outcome in outcomes:
        counts = (outcome.stored, outcome.replayed, outcome.rejected, outcome.silent)
        table.add_row(outcome.file, *(f"{count:,}" for count in counts))
    console().print(table)
    for outcome in outcomes:
        _print_reasons(outcome, f"{outcome.file}: rejected because", outcome.reasons - outcome.says_nothing)
        _print_reasons(outcome, f"{outcome.file}: says nothing because", outcome.says_nothing)
        _print_reasons(outcome, f"{outcome.file}: not trained on because", outcome.not_trained)
        if outcome.ignored:
            fields = ", ".join(f"{name} ({count:,} rows)" for name, count in outcome.ignored.most_common())
            console().print(f"\n{outcome.file}: fields that are not imported: {fields}", markup=False)


def _print_reasons(outcome: Outcome, heading: str, reasons: Counter[str]) -> None:
    if not reasons:
        return
    console().print(f"\n{heading}", markup=False)
    for reason, count in reasons.most_common(REASONS_SHOWN):
        console().print(f"{count:>8,}  {reason} ({_places(outcome.first_lines[reason], count)})", markup=False)
    if len(reasons) > REASONS_SHOWN:
        console().print(f"          … and {len(reasons) - REASONS_SHOWN:,} other reasons; all of them with --json")


def _places(lines: list[int], count: int) -> str:
    """Returns the first line numbers of a reason as text: "lines 3, 7, 9 and 11,987 more"."""
    listed = ", ".join(str(line) for line in lines)
    more = f" and {count - len(lines):,} more" if count > len(lines) else ""
    return f"{'line' if count == 1 else 'lines'} {listed}{more}"
