"""Shows the rows of an audit one by one and records a verdict with one key per row."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unicodedata import category
from uuid import UUID

import typer
from thumbwheel import Client, wire
from thumbwheel.chat_messages import readable_prompt

VERDICTS: dict[str, wire.AuditVerdict] = {"y": "agree", "n": "disagree", "u": "unsure"}
BACK, QUIT = "b", "q"
KEYS = "y agree · n disagree · u unsure · b back · q quit"


def review_rows(client: Client, audit_id: UUID) -> None:
    """Shows each row without a verdict and stores the verdict on it, until none is left or the person quits."""
    with _keys() as next_key:
        _review(client, audit_id, next_key)


def _review(client: Client, audit_id: UUID, next_key: Callable[[], str]) -> None:
    audit = client.audits.get(audit_id)
    judged_before = audit.items - audit.pending
    queue = client.audits.items(audit_id, pending=True)
    seen: list[wire.AuditItem] = []
    index = 0
    while True:
        if index == len(seen):
            item = next(queue, None)
            if item is None:
                return
            seen.append(item)
        item = seen[index]
        typer.echo(f"\n{judged_before + index + 1} of {audit.items}\n{item_text(item)}\n{KEYS}")
        key = next_key()
        if key in VERDICTS:
            seen[index] = client.audits.give_verdict(audit_id, item.number, wire.NewAuditVerdict(verdict=VERDICTS[key]))
            typer.echo(VERDICTS[key])
            index = len(seen) if seen[-1].verdict else len(seen) - 1
        elif key == BACK and index > 0:
            index -= 1
        elif key == BACK:
            typer.echo("This is the first row of this review: `thumbwheel audit verdict` changes earlier verdicts.")
        elif key == QUIT:
            return


def item_text(item: wire.AuditItem) -> str:
    """Returns a row of an audit as text for a terminal."""
    parts = [
        f"row {item.number}, completion {item.completion_id}",
        *(f"{name}:\n{_indented(text)}" for name, text in _texts(item)),
        f"label: {item.label}, by {item.reason}, weight {item.weight:g}",
        *([f"verdict so far: {item.verdict}"] if item.verdict else []),
    ]
    return _printable("\n".join(parts))


def _texts(item: wire.AuditItem) -> list[tuple[str, str]]:
    completion = ("completion", item.completion)
    if isinstance(item.prompt, str):
        return [("prompt", item.prompt), completion]
    return [*((f"prompt, {who}", text) for who, text in readable_prompt(item.prompt)), completion]


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _printable(text: str) -> str:
    """Replaces control characters, which could move the cursor or change the colours of a terminal."""
    return "".join("�" if category(letter) == "Cc" and letter not in "\n\t" else letter for letter in text)


@contextmanager
def _keys() -> Iterator[Callable[[], str]]:
    """Yields a function that returns the next key: one pressed at a terminal, or the first letter of a line of a pipe.

    The end of the pipe quits.
    """
    if not sys.stdin.isatty():
        yield _first_of_line
    elif sys.platform == "win32":
        yield typer.getchar
    else:
        import termios
        import tty

        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
        tty.setcbreak(terminal)
        try:
            yield lambda: os.read(terminal, 1).decode(errors="replace").lower() or QUIT
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _first_of_line() -> str:
    line = sys.stdin.readline()
    return line.strip()[:1].lower() if line else QUIT
