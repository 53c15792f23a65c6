"""`thumbwheel import FILE…`: sends the events of files to the feedback log."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.connection import PATIENT_TRIES, AsJson, Project, connected
from app.cli.import_export import import_export
from app.cli.listing import as_table, console, print_json
from app.cli.progress_bars import progress_bar

if TYPE_CHECKING:
    from thumbwheel import Client

    from app.feedback.importing import Imported

BATCH = 500
REASONS_SHOWN = 10
LINES_SHOWN = 3
_PENDING = "the votes in quarantine are not counted yet, since the log is being read: see `thumbwheel readiness` later"


@dataclass
class ImportOutcome:
    """The outcome of the lines of one file.

    reasons       the number of rejected and silent lines by reason
    says_nothing  the number of silent lines by reason
    not_trained   the number of stored events that no run would learn from, by reason
    ignored       the number of rows by field that events do not store
    first_lines   the first few line numbers of each reason
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

    def count_silent(self, line: int, reason: str) -> None:
        self.silent += 1
        self.says_nothing[reason] += 1
        self._count(line, reason)

    def count_losses(self, item: "Imported") -> None:
        """Counts the fields that an event loses, and the reason if no run would learn from it."""
        self.ignored.update(item.ignored)
        if item.fault is not None:
            self.not_trained[item.fault.sentence] += 1
            self._add_line(item.line, item.fault.sentence)

    def document(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "rejects"}

    def _count(self, line: int, reason: str) -> None:
        self.reasons[reason] += 1
        self._add_line(line, reason)

    def _add_line(self, line: int, reason: str) -> None:
        lines = self.first_lines.setdefault(reason, [])
        if len(lines) < LINES_SHOWN:
            lines.append(line)


def import_files(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="JSON lines, plain or gzipped; - for stdin.")],
    project: Project = None,
    dry_run: Annotated[bool, typer.Option(help="Show what would be stored; send nothing.")] = False,
    rejects: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File for the numbers of rejected lines.")
    ] = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="Of an export: restore policy, gates, suites and other settings, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send files of feedback: events, rows in TRL's formats, or the folder of an export. Sending a file again stores
    nothing twice.

    Exit codes: 0 if no line was rejected; 1 if some were; 2 if no line was understood, a file cannot be read or the
    command is used incorrectly.
    """
    from app.feedback import importing

    if import_export(files, project, dry_run=dry_run, with_settings=settings, as_json=as_json):
        return
    with TemporaryDirectory() as folder:
        paths = [_stdin_in(Path(folder)) if str(path) == "-" else path for path in files]
        # Every file is read before any event is sent: a truncated one is refused as a whole, and the bar has a total.
        totals = [sum(1 for _ in importing.read(path)) for path in paths]
        with ExitStack() as stack:
            client = None if dry_run else stack.enter_context(connected(project, tries=PATIENT_TRIES))
            advance = stack.enter_context(progress_bar("importing", sum(totals)))
            outcomes = [_import_file(client, path, advance, keep=rejects is not None) for path in paths]
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
        understood = any(outcome.stored + outcome.replayed + outcome.silent for outcome in outcomes)
        raise typer.Exit(1 if understood else 2)


def _stdin_in(folder: Path) -> Path:
    """Returns a file with the content of stdin, since every file is read twice."""
    path = folder / "stdin"
    if not path.exists():
        with path.open("wb") as file:
            copyfileobj(sys.stdin.buffer, file)
    return path


def _import_file(client: "Client | None", path: Path, advance: Callable[[int], None], *, keep: bool) -> ImportOutcome:
    """Sends the events of a file; without a client, only counts them as stored."""
    from app.feedback import importing

    outcome = ImportOutcome(path.name)
    lines = importing.read(path)
    while items := list(islice(lines, BATCH)):
        for item in items:
            if isinstance(item, importing.Rejected):
                outcome.reject(item.line, item.reason, keep=keep)
            elif isinstance(item, importing.Silent):
                outcome.count_silent(item.line, item.reason)
        events = [item for item in items if isinstance(item, importing.Imported)]
        for item in events:
            outcome.count_losses(item)
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
    """Returns a notice of the votes in quarantine, None without any or if the key may not read it.

    For a long log, the notice is as of its latest reading by the loop.
    """
    from thumbwheel import ApiError, ClientError

    try:
        readiness = client.projects.readiness()
    except ApiError as error:
        return _PENDING if error.code == "readiness_pending" else None
    except ClientError:  # the key may only write feedback, and everything is stored
        return None
    if readiness.quarantine is None or not readiness.quarantine.votes:
        return None
    return next((notice for notice in readiness.notices if "in quarantine" in notice), None)


def _print(outcomes: list[ImportOutcome], *, dry_run: bool) -> None:
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


def _print_reasons(outcome: ImportOutcome, heading: str, reasons: Counter[str]) -> None:
    if not reasons:
        return
    console().print(f"\n{heading}", markup=False)
    for reason, count in reasons.most_common(REASONS_SHOWN):
        console().print(f"{count:>8,}  {reason} ({_line_numbers(outcome.first_lines[reason], count)})", markup=False)
    if len(reasons) > REASONS_SHOWN:
        console().print(f"          … and {len(reasons) - REASONS_SHOWN:,} other reasons; --json lists all of them")


def _line_numbers(lines: list[int], count: int) -> str:
    """Returns the first line numbers of a reason as text: "lines 3, 7, 9 and 11,987 more"."""
    listed = ", ".join(str(line) for line in lines)
    more = f" and {count - len(lines):,} more" if count > len(lines) else ""
    return f"{'line' if count == 1 else 'lines'} {listed}{more}"
