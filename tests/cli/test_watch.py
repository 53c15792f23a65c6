"""`thumbwheel runs watch`: lines for a pipe, events as JSON, a board for a terminal."""

import io
import json
import os
import signal
import subprocess
import sys

import pytest
from rich.console import Console
from thumbwheel import wire

from app.cli.board import Board


@pytest.fixture
def run(client) -> wire.Run:
    """A run that waits for a worker."""
    for number in range(20):
        vote = "up" if number % 2 else "down"
        client.feedback(f"msg-{number}", "user-1", vote, prompt=f"Question {number}?", completion=f"Answer {number}.")
    return client.runs.start()


def test_a_change_is_a_line_and_ctrl_c_leaves_the_run_alone_and_says_so(cli, client, run):
    watching = subprocess.Popen(
        [sys.executable, "-m", "app.cli.main", "runs", "watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **cli.environment},
    )
    assert watching.stdout is not None
    assert watching.stdout.readline() == "queued\n"

    watching.send_signal(signal.SIGINT)

    _, output = watching.communicate(timeout=120)
    assert output.startswith(f"Run {run.id} continues: ")
    assert output.count("\n") == 1
    assert watching.returncode == 130
    assert client.runs.get(run.id).state == "queued"


def test_as_json_every_event_since_the_beginning_is_a_line(cli, client, run):
    client.runs.cancel(run.id)

    done = cli("runs", "watch", "--json")

    assert done.code == 1
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [item["event"] for item in events] == ["transition", "transition", "progress", "end"]
    assert [item["to_state"] for item in events[:2]] == ["queued", "cancelled"]
    assert events[-1]["state"] == "cancelled"


def progress(**how) -> wire.RunProgressEvent:
    known = {
        "id": "1-0", "state": "training", "paused": False, "waiting": False, "phase_done": 30, "phase_total": 120,
        "eta_seconds": 62.0, "tokens_per_second": 5120.4,
    }  # fmt: skip
    return wire.RunProgressEvent(**{**known, **how})


@pytest.fixture
def board() -> Board:
    """The board after 30 steps."""
    board = Board()
    board.take(progress())
    for step in range(1, 31):
        drift = 0.031 if step % 10 == 0 else None
        values = {"loss": 1 / step, "margin": step / 10, "z0": None, "kl_nats_per_token": drift}
        board.take(wire.RunMetricsEvent(id="1-0", step=step, values=values))
    return board


def drawn(board: Board, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, record=True, force_terminal=True)
    console.print(board)
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_the_board_shows_how_far_the_run_is_and_how_its_figures_went(board):
    head, loss, margin, drift = drawn(board, 100)

    assert head.startswith("training  ━━━━━━━━━━")
    assert head.endswith("30/120  1:02 left  5,120 tokens/s")
    assert loss.startswith("loss    █")
    assert loss.endswith("▁  0.033")
    assert margin.startswith("margin  ▁")
    assert margin.endswith("█  3.000")
    assert drift == "drift   ▅▅▅  0.031 nats/token"


@pytest.mark.parametrize("width", [20, 40, 60, 200])
def test_the_board_fits_the_terminal(board, width):
    lines = drawn(board, width)

    assert len(lines) == 4
    assert max(map(len, lines)) <= width


def test_a_run_that_is_paused_or_waits_is_shown_as_such_and_without_a_time_left(board):
    board.take(progress(paused=True))
    assert drawn(board, 100)[0].startswith("training, paused  ")
    assert "left" not in board.line()

    board.take(progress(held_up_by="the disk that holds /work is full: make room there"))
    assert drawn(board, 100)[0].startswith("training, disk full  ")
    assert "left" not in board.line()

    board.take(progress(state="queued", waiting=True, phase_done=0, phase_total=0, eta_seconds=None))
    assert board.line().startswith("queued, waiting for the run before it")


def test_a_step_that_is_taken_again_replaces_the_first_one(board):
    board.take(wire.RunMetricsEvent(id="2-0", step=30, values={"loss": 2.0}))

    _, loss, *_ = drawn(board, 100)
    assert loss.endswith("█  2.000")
    assert loss.count("█") == 1
