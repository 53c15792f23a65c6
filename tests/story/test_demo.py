"""`thumbwheel demo`, run as a newcomer would. The whole demo takes minutes and belongs to `make test-slow`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "app.cli.main", "demo"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rounds_of_thumbs_make_the_replies_clearly_better_and_a_careless_recipe_is_refused() -> None:
    done = subprocess.run([*COMMAND, "--full", "--json"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    result = json.loads(line)
    good, intervals = result["good_share"], result["intervals"]["good_share"]
    for name in ("round1", "round2", "round3"):
        assert good[name] - good["base"] >= 0.25
        assert intervals[name][0] > intervals["base"][1]
        assert 0.85 <= result["rounds"][name]["length_ratio"] <= 1.15
        assert result["rounds"][name]["mended_share"] > 0.4 > 0.1 > result["rounds"][name]["broken_share"]
    assert result["length_ratio"] == result["rounds"]["round3"]["length_ratio"]
    assert 0 < result["kl_nats"] < 20
    approvals = list(result["approval"].values())
    assert approvals[-1] > approvals[0]
    assert result["refused"]["reasons"]
    assert result["refused"]["good_share"] < good["round3"]


def test_a_data_folder_that_takes_nothing_is_reported_before_anything_is_started(tmp_path: Path) -> None:
    a_file = tmp_path / "file"
    a_file.write_text("")

    done = subprocess.run(
        COMMAND, capture_output=True, text=True, env=os.environ | {"THUMBWHEEL_DATA_DIR": str(a_file)}, cwd="/"
    )

    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("The demo stopped: ")
    assert str(a_file) in line
