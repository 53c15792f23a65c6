"""Shows a run until it ends: a live board at a terminal, a line per change in a pipe, or an event per line as JSON."""

import sys
from collections.abc import Iterator
from uuid import UUID

import typer
from thumbwheel import Client, wire

from app.cli.board import Board, transition_line
from app.cli.listing import as_table, console, when
from app.runs.states import TERMINAL

SUCCEEDED, ENDED_OTHERWISE, INTERRUPTED = 0, 1, 130


def watch_run(client: Client, run_id: UUID, *, as_json: bool) -> int:
    """Shows the run until it ends. Returns the exit code: 0 if it succeeded, else 1.

    Raises `typer.Exit` with 130 on Ctrl-C, which does not stop the run.
    """
    try:
        if as_json:
            return _as_json(client, run_id)
        return _on_a_board(client, run_id) if as_table(as_json) else _in_lines(client, run_id)
    except KeyboardInterrupt:
        sys.stderr.write(
            f"Run {run_id} continues: `thumbwheel runs watch {run_id}` shows it again, `runs cancel` ends it.\n"
        )
        raise typer.Exit(INTERRUPTED) from None


def _as_json(client: Client, run_id: UUID) -> int:
    """Prints every event of the run since its beginning."""
    state = ""
    for event in client.runs.follow(run_id):
        _write(event.model_dump_json())
        if isinstance(event, wire.RunEndEvent):
            state = event.state
    return _exit_code(state)


def _in_lines(client: Client, run_id: UUID) -> int:
    """Prints the current progress, then a line per change."""
    printed: object = None
    board = Board()
    for event in _follow(client, run_id, board):
        if isinstance(event, wire.RunTransitionEvent) and event.from_state == event.to_state:
            _write(transition_line(event))
        elif isinstance(event, wire.RunProgressEvent) and event.state not in TERMINAL:
            now = (board.state, event.phase_done, event.phase_total)
            if now != printed:
                printed = now
                _write(board.line())
    return _print_end(client, run_id)


def _on_a_board(client: Client, run_id: UUID) -> int:
    from rich.live import Live

    board = Board()
    with Live(board, console=console()):
        for _ in _follow(client, run_id, board):
            pass
    return _print_end(client, run_id)


def _follow(client: Client, run_id: UUID, board: Board) -> Iterator[wire.AnyRunEvent]:
    """Yields new events after the board has taken them. The metrics of earlier steps are put on the board first."""
    filled = False
    for event in client.runs.follow(run_id, history=False):
        if not filled:
            filled = True
            for values in client.runs.metrics(run_id).steps:
                board.step(values["step"], values)
        board.take(event)
        yield event


def _print_end(client: Client, run_id: UUID) -> int:
    """Prints how the run ended. Returns the exit code."""
    run = client.runs.get(run_id)
    outcome = f"checkpoint {run.checkpoint_id}" if run.checkpoint_id else run.reason or ""
    _write(f"{when(run.finished_at)}  run {run.id} {run.state}: {outcome}")
    for warning in run.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    return _exit_code(run.state)


def _exit_code(state: str) -> int:
    return SUCCEEDED if state == "succeeded" else ENDED_OTHERWISE


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
