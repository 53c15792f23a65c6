"""`thumbwheel audit …`: draws an audit, takes a key for each row, shows the result."""

import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.cli.conftest import in_this_process
from tests.desk import vote

REVIEW = [sys.executable, "-m", "app.cli.main", "audit", "review"]


@pytest.fixture
def review(cli) -> Callable[..., str]:
    """A function: `review("y", "n", …)` runs a review that reads these lines, and returns its output."""

    def run(*keys: str) -> str:
        done = in_this_process(["audit", "review"], cli.environment, keys="".join(f"{key}\n" for key in keys))
        assert done.code == 0, done.err
        return done.out

    return run


@pytest.mark.trial
def test_an_audit_of_200_rows_of_each_class_gives_wilsons_interval(cli, review):
    from statsmodels.stats.proportion import proportion_confint  # takes longer than other tests here

    vote(500, project="acme")
    started = cli("audit", "start").document
    assert [part["items"] for part in started["classes"]] == [200, 200]

    # Every 10th row is unsure, every 7th of the others wrong. The review takes two sessions.
    keys = ["u" if row % 10 == 0 else "n" if row % 7 == 0 else "y" for row in range(400)]
    first = review(*keys[:150])
    assert "1 of 400" in first
    assert "250 of 400 rows are left" in first
    second = review(*keys[150:])

    assert second.lstrip().startswith("151 of 400")
    assert "Every row has a verdict." in second
    found = cli("audit", "show").document
    assert found["pending"] == 0
    assert sum(part["unsure"] for part in found["classes"]) == keys.count("u")
    assert sum(part["agreed"] for part in found["classes"]) == keys.count("y")
    for part in (*found["classes"], *found["kinds"]):
        assert part["judged"] > 150
        low, high = proportion_confint(part["agreed"], part["judged"], alpha=0.05, method="wilson")
        assert part["precision"] == part["agreed"] / part["judged"]
        assert (part["low"], part["high"]) == pytest.approx((low, high), abs=1e-12)


def test_going_back_changes_a_verdict_and_the_review_goes_on_after_the_last_row(cli, client, review):
    vote(10, project="acme")
    audit = cli("audit", "start").document["id"]

    done = review("y", "y", "b", "b", "n", "?", "u", "q")

    assert [line for line in done.splitlines() if line.endswith("of 10")] == [
        f"{row} of 10" for row in (1, 2, 3, 2, 1, 3, 3, 4)
    ]
    assert "verdict so far: agree" in done
    items = {item.number: item.verdict for item in client.audits.items(audit)}
    assert items == {1: "disagree", 2: "agree", 3: "unsure", **dict.fromkeys(range(4, 11))}


def test_at_a_terminal_a_single_key_is_enough(cli, client):
    vote(10, project="acme")
    audit = cli("audit", "start").document["id"]
    leader, follower = pty.openpty()
    reviewing = subprocess.Popen(
        REVIEW,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, **cli.environment, "PYTHONIOENCODING": "utf-8"},
    )
    os.close(follower)
    try:
        for row, key in ((1, b"n"), (2, b"y"), (3, b"q")):
            _read_until(leader, f"{row} of 10", "q quit")
            os.write(leader, key)
        _read_until(leader, "8 of 10 rows are left")
        assert reviewing.wait(120) == 0
    finally:
        reviewing.kill()
        reviewing.wait()
        os.close(leader)

    assert [item.verdict for item in client.audits.items(audit)][:3] == ["disagree", "agree", None]


def test_a_row_is_shown_with_everything_that_a_judge_needs_and_nothing_that_moves_the_cursor(client, cli, review):
    for number, value in enumerate(("up", "down")):
        client.feedback(
            f"msg-{number}",
            "user-1",
            value,
            prompt=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Where\x1b[2J is it?"}],
            completion="On its way.\nSoon.",
        )
    cli("audit", "start")

    shown = review("q")

    for part in ("1 of 2", "prompt, system:\n  Be kind.", "Where�[2J is it?", "completion:\n  On its way.\n  Soon."):
        assert part in shown
    assert "label: desirable, by thumbs_up" in shown or "label: undesirable, by thumbs_down" in shown
    assert "y agree · n disagree · u unsure · b back · q quit" in shown


def test_rows_are_judged_one_by_one_with_notes(cli):
    vote(4, project="acme")
    audit = cli("audit", "start", "--per-class", "2", "--seed", "5").document["id"]

    row = cli("audit", "next").document
    judged = cli("audit", "verdict", audit[-6:], str(row["number"]), "disagree", "--note", "irony").document

    assert judged["history"][0]["note"] == "irony"
    assert cli("audit", "next").document["number"] != row["number"]
    for number in range(1, 5):
        cli("audit", "verdict", audit, str(number), "agree")
    finished = cli("audit", "next")
    assert (finished.code, finished.document) == (1, None)
    assert [item["pending"] for item in cli("audit", "list").document] == [0]


def test_what_cannot_be_is_said_in_a_line(cli):
    assert "no audit yet" in cli.refused("audit", "review")
    assert "no labelled row" in cli.refused("audit", "start")
    vote(4, project="acme")
    audit = cli("audit", "start").document["id"]

    assert "has no item 9" in cli.refused("audit", "verdict", audit, "9", "agree")
    assert "'agree', 'disagree' or 'unsure'" in cli.refused("audit", "verdict", audit, "1", "perhaps")
    assert "No audit has an id" in cli.refused("audit", "show", "ffffffff")


def _read_until(leader: int, *parts: str) -> None:
    """Reads a terminal until all of `parts` have appeared, one after the other."""
    output = ""
    for part in parts:
        while part not in output:
            ready, _, _ = select.select([leader], [], [], 60)
            assert ready, f"{part!r} did not appear after {output!r}"
            output += os.read(leader, 4096).decode(errors="replace")
        output = output.split(part, 1)[1]
