"""Judging the rows of an audit, one key each."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unicodedata import category
from uuid import UUID

import typer
from thumbwheel import Client, wire

VERDICTS: dict[str, wire.AuditVerdict] = {"y": "agree", "n": "disagree", "u": "unsure"}
BACK, QUIT = "b", "q"
KEYS = "y agree · n disagree · u unsure · b back · q quit"


def reviewed(client: Client, audit_id: UUID) -> None:
    """Show each row without a verdict and store what is said of it, until there is none left, or somebody quits."""
    with _keys() as next_key:
        _review(client, audit_id, next_key)


def _review(client: Client, audit_id: UUID, next_key: Callable[[], str]) -> None:
    audit = client.audits.get(audit_id)
    judged_before = audit.items - audit.pending
    queue = client.audits.items(audit_id, pending=True)
    seen: list[wire.AuditItem] = []
    at = 0
    while True:
        if at == len(seen):
            item = next(queue, None)
            if item is None:
                return
            seen.append(item)
        item = seen[at]
        typer.echo(f"\n{judged_before + at + 1} of {audit.items}\n{shown(item)}\n{KEYS}")
        key = next_key()
        if key in VERDICTS:
            seen[at] = client.audits.give_verdict(audit_id, item.number, wire.NewAuditVerdict(verdict=VERDICTS[key]))
            typer.echo(VERDICTS[key])
            at = len(seen) if seen[-1].verdict else len(seen) - 1
        elif key == BACK and at > 0:
            at -= 1
        elif key == BACK:
            typer.echo("This is where you began: `thumbwheel audit verdict` changes what was said before.")
        elif key == QUIT:
            return


def shown(item: wire.AuditItem) -> str:
    """A row as people read it."""
    parts = [
        f"row {item.number}, completion {item.completion_id}",
        *(f"{name}:\n{_indented(text)}" for name, text in _texts(item)),
        f"label: {item.label}, by {item.reason}, weight {item.weight:g}",
        *([f"verdict so far: {item.verdict}"] if item.verdict else []),
    ]
    return _printable("\n".join(parts))


def _texts(item: wire.AuditItem) -> list[tuple[str, str]]:
    turns = [("prompt", item.prompt)] if isinstance(item.prompt, str) else [_turn(turn) for turn in item.prompt]
    return [*turns, ("completion", item.completion)]


def _turn(message: dict[str, object]) -> tuple[str, str]:
    calls = message.get("tool_calls")
    said = [str(part) for part in (message.get("content"), calls and f"calls tools: {calls}") if part]
    return f"prompt, {message['role']}", "\n".join(said)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _printable(text: str) -> str:
    """Without what would move the cursor or change colours of a terminal."""
    return "".join("�" if category(letter) == "Cc" and letter not in "\n\t" else letter for letter in text)


@contextmanager
def _keys() -> Iterator[Callable[[], str]]:
    """What gives the next key: one pressed at a terminal, else the first letter of a line; the end of a pipe quits."""
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
