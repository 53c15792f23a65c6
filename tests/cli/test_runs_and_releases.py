"""`thumbwheel readiness | runs | checkpoints | ship | rollback | releases | triggers`, without a worker."""

import os
import subprocess
import sys

import pytest
from thumbwheel import wire

from app.cli.runs import dropped_in_words as in_words
from app.loop import service as loop
from tests.cli.conftest import on_a_screen


@pytest.fixture
def labelled(client) -> None:
    """Stores enough labels of both classes for the low minimum of the project."""
    for number in range(20):
        client.feedback(
            f"msg-{number}",
            "user-1",
            "up" if number % 2 else "down",
            prompt=f"Question {number}?",
            completion=f"Answer {number}.",
        )


def test_readiness_says_what_is_missing_and_its_exit_code_says_that_something_is(cli):
    done = cli("readiness")

    assert done.code == 1
    assert done.document["ready"] is False
    assert done.document["reasons"]


def test_a_run_on_no_data_is_refused_in_one_line_with_every_reason(cli, client):
    line = cli.refused("runs", "start")

    assert all(" ".join(reason.split()) in line for reason in client.projects.readiness().reasons)


def test_a_run_is_started_found_by_its_ending_and_cancelled_and_a_second_one_is_refused(cli, labelled):
    assert cli("readiness").code == 0

    started = cli("runs", "start", "--set", "beta=0.2", "--note", "try a stronger pull")
    assert started.code == 0, started.err
    run = started.document
    assert run["state"] == "queued"

    assert run["id"] in cli.refused("runs", "start")
    assert [item["id"] for item in cli("runs", "list").document] == [run["id"]]
    assert cli("runs", "show", run["id"][-6:]).document["id"] == run["id"]
    assert cli("runs", "cancel").document["state"] == "cancelled"


def test_a_run_is_paused_resumed_and_retried_and_another_one_queued_behind_it(cli, labelled):
    run = cli("runs", "start").document["id"]

    assert cli("runs", "pause").document["paused"] is True
    assert cli("runs", "resume", run[-6:]).document["paused"] is False
    queued = cli("runs", "start", "--queue").document
    assert queued["waiting"] is True
    cli("runs", "cancel", run)
    cli("runs", "cancel", queued["id"])
    assert cli("runs", "retry", run, "--note", "once more").document["source_run_id"] == run
    assert "Allowed: cancel, reproduce, retry." in cli.refused("runs", "pause", run)
    assert "retry it" in cli.refused("runs", "reproduce", run)


def test_watching_prints_a_line_per_change_and_ends_with_1_when_the_run_was_cancelled(cli, client, labelled):
    run = client.runs.start(wire.NewRun())
    watching = subprocess.Popen(
        [sys.executable, "-m", "app.cli.main", "runs", "watch"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **cli.environment},
    )
    assert watching.stdout is not None
    assert watching.stdout.readline().startswith("queued")

    client.runs.cancel(run.id)

    rest, _ = watching.communicate(timeout=120)
    assert f"run {run.id} cancelled" in rest
    assert watching.returncode == 1


def test_where_there_is_no_run_that_is_said(cli):
    assert "no run yet" in cli.refused("runs", "show")
    assert cli("triggers").document == []


def test_a_checkpoint_is_listed_shown_and_pulled_with_its_hashes_verified(cli, registered, tmp_path):
    checkpoint = str(registered())
    folder = tmp_path / "pulled"

    listed, shown = cli("checkpoints", "list"), cli("checkpoints", "show", checkpoint[-8:])
    pulled = cli("checkpoints", "pull", checkpoint[-8:], folder)

    assert [item["kind"] for item in listed.document] == ["adapter", "base"]
    assert shown.document["id"] == checkpoint
    assert pulled.code == 0, pulled.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "adapter_model.safetensors": b"weights",
        "README.md": b"# card",
    }


def test_a_passed_checkpoint_ships_and_is_rolled_back_and_the_ledger_says_so(cli, client, registered):
    base = client.releases.current().checkpoint_id
    checkpoint = registered()

    shipped = cli("ship", str(checkpoint)[-8:], "--reason", "better replies")
    assert shipped.code == 0, shipped.err
    assert client.releases.current().checkpoint_id == checkpoint

    assert cli("rollback", "--reason", "complaints").document["checkpoint_id"] == str(base)
    assert [item["action"] for item in cli("releases").document] == ["rollback", "ship", "start"]


def test_a_canary_has_its_share_in_the_ledger_and_a_rollback_ends_it(cli, client, registered):
    checkpoint = registered()

    assert cli("ship", str(checkpoint), "--share", "0.2").document["action"] == "canary"
    assert client.releases.current().canary.share == 0.2
    given = {client.releases.assignment(f"actor-{number}").checkpoint_id for number in range(60)}
    assert given == {checkpoint, client.releases.current().checkpoint_id}
    assert cli("rollback").document["action"] == "end_canary"
    assert [item["share"] for item in cli("releases").document] == [None, 0.2, None]


def test_the_time_to_learn_is_shown_as_text_and_as_json(cli, registered):
    registered()

    shown = cli("time-to-learn")

    assert (shown.document["releases"], shown.document["objective"]) == ([], None)


def test_the_approval_of_releases_is_shown_as_text_and_as_json(cli, client, registered):
    made = registered()
    client.releases.ship(made)
    client.projects.change(wire.ProjectChange(monitoring=wire.MonitoringRules(segments=["country"], rollback={})))
    assert cli("approval").document["releases"] == []
    for number in range(4):
        client.feedback(
            f"msg-{number}",
            f"user-{number}",
            "up" if number else "down",
            checkpoint_id=made,
            metadata={"country": "AT"},
        )
    loop.tick()

    shown = cli("approval").document

    assert [(item["release_number"], item["desirable"]) for item in shown["releases"]] == [(2, 3), (1, 0)]
    assert shown["rollback"]["decision"]["action"] == "keep"
    text = on_a_screen(cli, "approval")
    assert "75.0% (30.1% to 95.4%) of 4 labels" in text
    assert "2 country AT" in text
    assert "keep: release 2 is live for 0.0 of 24 hours of grace" in text


def test_a_failed_checkpoint_ships_only_with_a_reason(cli, registered):
    checkpoint = str(registered(reasons=["AUROC's interval begins at 0.41: more labels are needed."]))

    line = cli.refused("ship", checkpoint)
    shipped = cli("ship", checkpoint, "--override-reason", "the pilot group wants it")

    assert "AUROC's interval begins at 0.41" in line
    assert shipped.document["override_reason"] == "the pilot group wants it"


def test_dropped_rows_are_shown_with_splits_reason_first_rows_and_remedy():
    rows = wire.DroppedRows(
        reason="unknown_role",
        meaning="a message has an unknown role",
        remedy="use another",
        count=1203,
        splits={"train": 1200, "holdout": 3},
        examples=[
            wire.DroppedRow(split="train", completion_id="c1", detail="human"),
            wire.DroppedRow(split="train", completion_id="c2", detail=""),
        ],
    )

    assert in_words(rows) == (
        "1,200 train, 3 holdout: a message has an unknown role (first c1 (human), c2); use another"
    )
