"""Shows the outcomes of the records of each imported file."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from app.cli.listing import console
from app.errors import Invalid

if TYPE_CHECKING:
    from app.feedback.importing import ImportOutcome

REASONS_SHOWN = 10
TEXT_SHOWN = 60


def opened_rejects(path: Path) -> TextIO:
    """Opens the file of `--rejects`, before anything is sent. Raises `Invalid` if it cannot be written."""
    try:
        return path.open("w")
    except OSError as error:
        raise Invalid(f"--rejects: cannot write {path}: {error.strerror}.", code="invalid_option") from error


def print_outcomes(outcomes: "list[ImportOutcome]", *, dry_run: bool) -> None:
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


def _print_rows(outcome: "ImportOutcome") -> None:
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


def _print_reasons(outcome: "ImportOutcome", heading: str, reasons: Counter[str]) -> None:
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
