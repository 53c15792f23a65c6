"""WORKDIR is filled by the worker that holds the run, and by no other one."""

import pytest

from app import settings
from app.errors import StaleLease
from tests.rows.desk import claim, expire, make_project, request, vote
from tests.rows.folders import saved_model
from worker.staging import stage


def test_a_worker_that_was_frozen_past_its_lease_leaves_the_snapshot_of_the_next_one_alone(database, tmp_path):
    make_project(base_model=saved_model(tmp_path / "base"))
    vote()
    run_id = request().id
    workdir = settings.current().work_dir / str(run_id)
    frozen = claim(run_id, "frozen")
    expire(run_id)
    stage(claim(run_id, "next"), workdir)
    files = {path: path.stat().st_ino for path in (workdir / "snapshot").iterdir()}

    # Its own job.json was not there yet when it was frozen.
    (workdir / "job.json").unlink()
    with pytest.raises(StaleLease):
        stage(frozen, workdir)

    assert {path: path.stat().st_ino for path in (workdir / "snapshot").iterdir()} == files
    assert list(workdir.glob("snapshot.*")) == []
    assert not (workdir / "job.json").exists()
