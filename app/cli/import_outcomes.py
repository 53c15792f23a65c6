"""Counts the outcomes of the records of each imported file, with reasons, and shows them."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from app.cli.listing import console

if TYPE_CHECKING:
    from app.feedback.importing import Imported, Item, Registered

REASONS_SHOWN = 10
LINES_SHOWN = 3
ROWS_SHOWN = 10
TEXT_SHOWN = 60
#: Reasons that quote values may be many: from then on they are counted together.
MOST_REASONS = 1000
OTHER_REASONS = "other reasons"


@dataclass
class ImportOutcome:
    """The outcome of the records of one file.

    unit            what its records are numbered by: line, item or row
    registered      the number of completions that were registered
    superseded      the number of events that replaced an older version of themselves
    skipped         the number of events and completions that an interrupted import had sent already
    reasons         the number of rejected and silent records by reason
    says_nothing    the number of silent records by reason
    not_trained     the number of stored events that no run would learn from, by reason
    ignored         the number of records by field that events do not store
    first_lines     the numbers of the first few records of each reason
    rows            the first events and completions, for a dry run
    not_understood  the reason why a file of a folder or an archive was passed over
    """

    file: str
    unit: str = "line"
    stored: int = 0
    registered: int = 0
    superseded: int = 0
    replayed: int = 0
    skipped: int = 0
    rejected: int = 0
    silent: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    says_nothing: Counter[str] = field(default_factory=Counter)
    not_trained: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    first_lines: dict[str, list[int]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    not_understood: str | None = None
    rejects: TextIO | None = None

    @property
    def understood(self) -> bool:
        return bool(self.stored + self.registered + self.superseded + self.replayed + self.skipped + self.silent)

    def reject(self, line: int, reason: str) -> None:
        self.rejected += 1
        self._count(self.reasons, line, reason)
        if self.rejects is not None:
            self.rejects.write(json.dumps({"file": self.file, self.unit: line, "reason": reason}) + "\n")

    def count_silent(self, line: int, reason: str) -> None:
        self.silent += 1
        counted = self._count(self.reasons, line, reason)
        self.says_nothing[counted] += 1

    def count_losses(self, item: "Imported | Registered") -> None:
        """Counts the fields that an event loses, and the reason if no run would learn from it."""
        for name in item.ignored:
            if name in self.ignored or len(self.ignored) < MOST_REASONS:
                self.ignored[name] += 1
        if item.fault is not None:
            self._count(self.not_trained, item.line, item.fault.sentence)

    def show(self, item: "Imported | Registered") -> None:
        """Keeps one of the first items to be shown."""
        if len(self.rows) < ROWS_SHOWN:
            self.rows.append(_row(item, self.unit))

    def document(self) -> dict[str, Any]:
        hidden = {"rejects"} | ({"rows"} if not self.rows else set())
        return {name: value for name, value in vars(self).items() if name not in hidden}

    def _count(self, reasons: Counter[str], line: int, reason: str) -> str:
        """Counts a reason, and returns the one under which it was counted."""
        if reason not in reasons and len(reasons) >= MOST_REASONS:
            reason = OTHER_REASONS
        reasons[reason] += 1
        lines = self.first_lines.setdefault(reason, [])
        if len(lines) < LINES_SHOWN:
            lines.append(line)
        return reason


def count_faults(outcome: ImportOutcome, items: Iterable["Item"]) -> list["Imported | Registered"]:
    """Counts the rejected and silent records among the items, and what others lose; returns those others."""
    from app.feedback.importing import Rejected, Silent

    good: list[Imported | Registered] = []
    for item in items:
        if isinstance(item, Rejected):
            outcome.reject(item.line, item.reason)
        elif isinstance(item, Silent):
            outcome.count_silent(item.line, item.reason)
        else:
            outcome.count_losses(item)
            good.append(item)
    return good


def print_outcomes(outcomes: list[ImportOutcome], *, dry_run: bool) -> None:
    """Prints a table of all files, then for each file its first rows, its reasons and the fields that get lost."""
    from rich.table import Table
    from rich.text import Text

    shown = [outcome for outcome in outcomes if outcome.not_understood is None]
    columns = {
        ("would be stored" if dry_run else "stored"): [outcome.stored for outcome in shown],
        ("would be registered" if dry_run else "registered"): [outcome.registered for outcome in shown],
        "superseded": [outcome.superseded for outcome in shown],
        "replayed": [outcome.replayed for outcome in shown],
        "sent before": [outcome.skipped for outcome in shown],
        "rejected": [outcome.rejected for outcome in shown],
        "says nothing": [outcome.silent for outcome in shown],
    }
    optional = {"would be registered", "registered", "superseded", "sent before"}
    columns = {name: counts for name, counts in columns.items() if name not in optional or any(counts)}
    table = Table("file", box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right")
    for number, outcome in enumerate(shown):
        table.add_row(Text(outcome.file), *(f"{counts[number]:,}" for counts in columns.values()))
    if shown:
        console().print(table)
    for outcome in shown:
        _print_rows(outcome)
        _print_reasons(outcome, f"{outcome.file}: rejected because", outcome.reasons - outcome.says_nothing)
        _print_reasons(outcome, f"{outcome.file}: says nothing because", outcome.says_nothing)
        _print_reasons(outcome, f"{outcome.file}: not trained on because", outcome.not_trained)
        if outcome.ignored:
            fields = ", ".join(f"{name} ({count:,} rows)" for name, count in outcome.ignored.most_common())
            console().print(f"\n{outcome.file}: fields that are not imported: {fields}", markup=False)
    for outcome in outcomes:
        if outcome.not_understood is not None:
            console().print(f"passed over: {outcome.not_understood}", markup=False)


def _row(item: "Imported | Registered", unit: str) -> dict[str, Any]:
    from app.feedback.importing import Imported

    if isinstance(item, Imported):
        event = item.event
        signal = {name: value for name, value in event.signal.model_dump(exclude_none=True).items() if name != "kind"}
        texts, about = (event.prompt, event.completion), event.completion_id
        what: dict[str, Any] = {"signal": event.signal.kind, "value": signal, "actor": event.actor}
    else:
        texts, about = (item.completion.prompt, item.completion.completion), item.completion_id
        what = {"signal": None, "value": {}, "actor": None}
    prompt, completion = map(_as_json, texts)
    return {unit: item.line, "completion_id": about, **what, "prompt": prompt, "completion": completion}


def _as_json(text: Any) -> Any:
    """Returns a prompt or a completion as JSON values."""
    if isinstance(text, list):
        return [_as_json(message) for message in text]
    return text if text is None or isinstance(text, str) else text.model_dump(mode="json", exclude_none=True)


def _print_rows(outcome: ImportOutcome) -> None:
    if not outcome.rows:
        return
    from rich.table import Table
    from rich.text import Text
    from thumbwheel.chat_messages import messages_of, readable

    table = Table(outcome.unit, "completion", "actor", "signal", "prompt", "answer", box=None, header_style="bold",
                  pad_edge=False)  # fmt: skip
    for row in outcome.rows:
        prompt, answer = row["prompt"], row["completion"]
        if prompt is not None and not isinstance(prompt, str):
            messages = messages_of(prompt)
            prompt = f"{len(messages)} messages: {readable(messages[-1])}"
        answer = readable(answer) if isinstance(answer, dict) else answer
        values = ", ".join(f"{value}" for value in row["value"].values())
        signal = "registered" if row["signal"] is None else f"{row['signal']} {values}"
        cells = (row[outcome.unit], row["completion_id"], row["actor"], signal, prompt, answer)
        table.add_row(*(Text(_brief(cell)) for cell in cells))
    console().print(f"\n{outcome.file}: the first {len(outcome.rows)} of them", markup=False)
    console().print(table)


def _brief(value: object) -> str:
    text = "–" if value is None else " ".join(str(value).split())
    return text if len(text) <= TEXT_SHOWN else f"{text[: TEXT_SHOWN - 1]}…"


def _print_reasons(outcome: ImportOutcome, heading: str, reasons: Counter[str]) -> None:
    if not reasons:
        return
    console().print(f"\n{heading}", markup=False)
    for reason, count in reasons.most_common(REASONS_SHOWN):
        numbers = _numbers(outcome.first_lines[reason], count, outcome.unit)
        console().print(f"{count:>8,}  {reason} ({numbers})", markup=False)
    if len(reasons) > REASONS_SHOWN:
        console().print(f"          … and {len(reasons) - REASONS_SHOWN:,} other reasons; --json lists all of them")


def _numbers(numbers: list[int], count: int, unit: str) -> str:
    """Returns the first numbers of a reason as text: "lines 3, 7, 9 and 11,987 more"."""
    listed = ", ".join(str(number) for number in numbers)
    more = f" and {count - len(numbers):,} more" if count > len(numbers) else ""
    return f"{unit if count == 1 else f'{unit}s'} {listed}{more}"
