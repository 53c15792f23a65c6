"""A short `make chaos-serving`: targets follow the ledger while worker, API and targets are killed."""

import json
import os
import subprocess

import pytest

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("stack"), pytest.mark.timeout(300)]


def test_targets_are_in_step_in_the_end_and_no_actor_has_two_adapters_whatever_is_killed(python):
    done = subprocess.run(
        [python, "-m", "tests.chaos.serving", "--kills", "3", "--seed", "2"],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("THUMBWHEEL_")},
    )

    result = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout
    assert result["killed"] == {"worker": 1, "API": 1, "target": 1}
    assert (result["not_seen"], result["two_live"], result["unexpected"]) == (0, 0, 0)
    assert result["answers"] > 50
