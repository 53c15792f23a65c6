"""A short `make chaos`: a run under which much is killed, frozen and stopped has the weights of one left alone."""

import json
import os
import subprocess

import pytest

from tests.trainer import tiny

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("stack"), pytest.mark.timeout(400)]

FAULTS = (
    "worker killed",
    "worker stopped",
    "worker frozen past its lease",
    "Postgres stopped at once",
    "beat killed",
)


def test_a_run_under_which_everything_is_killed_is_neither_lost_nor_done_twice_and_ends_the_same(tmp_path, python):
    base_model = tiny.save_model(tmp_path / "base", seed=3)
    command = [python, "-m", "tests.chaos.runs", "--runs", "1", "--projects", "1", "--workers", "2", "--lease", "4"]
    faults = [part for fault in FAULTS for part in ("--only", fault)]

    done = subprocess.run(
        [*command, *faults, "--seed", "3", "--minutes", "5", "--base-model", str(base_model)],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("THUMBWHEEL_")},
    )

    result = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout
    assert result["runs"] == 1
    assert result["faults"] >= 3
    assert result["attempts"] >= 3
    assert result["outcomes"] == {"succeeded": 1}
    counted = ("lost", "ran_twice", "registered_twice", "hash_mismatches", "steps_missing", "stuck")
    assert [result[name] for name in counted] == [0] * len(counted)
