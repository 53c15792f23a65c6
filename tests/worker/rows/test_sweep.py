"""Removes the working folders of runs on redacted snapshots, and of runs that ended long ago."""

import pytest

from app import settings
from app.database import new_id
from tests.desk import checkpoint, claim, execute, make_project, request, snapshot, vote
from worker.staging.attempt_folders import run_folder
from worker.staging.sweep import sweep


@pytest.fixture(autouse=True)
def _project(database):
    make_project()
    vote()


def redact(snapshot_id) -> None:
    execute(
        "INSERT INTO snapshot_redactions (snapshot_id, erasure_id, rows, shards, redacted_at) "
        "VALUES (:id, :erasure, 1, '[]', now())",
        id=snapshot_id, erasure=new_id(),
    )  # fmt: skip


def test_folders_of_ended_runs_go_where_rows_were_erased_and_others_stay(tmp_path):
    runs = []
    for number in range(2):
        checkpoint_id = checkpoint(tmp_path / str(number))
        runs += execute("SELECT run_id, snapshot_id FROM checkpoints WHERE id = :id", id=checkpoint_id)
        vote(10, start=100 + 10 * number)
    going_on = claim(request().id)
    snapshot(going_on, tmp_path / "2")
    [(redacted,)] = execute("SELECT snapshot_id FROM runs WHERE id = :id", id=going_on.lease.run_id)
    folders = [run_folder(run_id) for run_id in (runs[0][0], runs[1][0], going_on.lease.run_id)]
    weights = settings.current().work_dir / "weights"
    for folder in (*folders, weights):
        (folder / "snapshot").mkdir(parents=True)
    redact(runs[0][1])
    redact(redacted)

    sweep()

    assert [folder.exists() for folder in (*folders, weights)] == [False, True, True, True]


def test_folders_of_runs_that_ended_long_ago_go_and_of_those_that_go_on_never(tmp_path):
    old, young = (
        execute("SELECT run_id FROM checkpoints WHERE id = :id", id=checkpoint(tmp_path / name))[0][0]
        for name in ("old", "young")
    )
    going_on = claim(request().id).lease.run_id
    execute("UPDATE runs SET finished_at = now() - interval '15 days' WHERE id = :id", id=old)
    execute("UPDATE runs SET created_at = now() - interval '15 days' WHERE id = :id", id=going_on)
    folders = [run_folder(run_id) for run_id in (old, young, going_on)]
    for folder in folders:
        (folder / "state").mkdir(parents=True)

    sweep()

    assert [folder.exists() for folder in folders] == [False, True, True]
