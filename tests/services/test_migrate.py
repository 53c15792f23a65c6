"""`thumbwheel migrate` by several processes at the same moment."""

import os
import subprocess
import sys

import pytest

from app import services


@pytest.mark.trial
def test_of_three_at_once_one_migrates_and_two_find_the_newest_tables(servers):
    with services.embedded_postgres(servers.folder / "migrated-at-once", durable=False) as empty:
        environment = {**os.environ, "THUMBWHEEL_DATABASE_URL": empty.url}
        command = [sys.executable, "-m", "app.cli.main", "migrate"]
        running = [
            subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(3)
        ]
        printed = [process.communicate(timeout=120) for process in running]

    assert [process.returncode for process in running] == [0, 0, 0], printed
    assert sorted(out.split(" at ")[0].split(" went ")[0] for out, _ in printed) == [
        "The tables",
        "The tables are",
        "The tables are",
    ]
