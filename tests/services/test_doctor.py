"""`thumbwheel doctor`: what is right is said, what is wrong comes with its remedy and exit code 1."""

import json
import os
import subprocess
import sys

import pytest

from app import services
from tests.services.bucket import BUCKET, bucket, bucket_server


def doctor(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("THUMBWHEEL_")}
    command = [sys.executable, "-m", "app.cli.main", "doctor", *options]
    return subprocess.run(
        command, capture_output=True, text=True, env=surroundings | {"COLUMNS": "300"} | environment, check=False
    )


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    return {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}


@pytest.fixture(autouse=True)
def without_torch(tmp_path, monkeypatch):
    """Loading the real one takes seconds, and what it says depends on the machine."""
    (tmp_path / "torch.py").write_text(
        "__version__ = '2'\nclass cuda:\n    is_available = staticmethod(lambda: False)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_all_is_well_with_servers_that_answer_and_newest_tables(migrated, tmp_path):
    done = doctor("--json", **migrated.environment | {"THUMBWHEEL_DATA_DIR": str(tmp_path)})

    assert done.returncode == 0, done.stdout
    said = findings(done)
    assert {finding["state"] for finding in said.values()} == {"ok"}
    assert said["Postgres"]["said"].endswith("tables up to date")
    assert said["Training"]["said"] == "torch 2, no GPU"


def test_a_machine_without_settings_would_use_embedded_servers(tmp_path):
    done = doctor("--json", THUMBWHEEL_DATA_DIR=str(tmp_path))

    assert done.returncode == 0, done.stdout
    assert findings(done)["Postgres"]["said"].startswith("embedded by `thumbwheel up`")


def test_servers_that_do_not_answer_and_a_closed_folder_are_wrong_each_with_its_remedy(tmp_path):
    port = services.free_port()
    (tmp_path / "file").write_text("")

    done = doctor(
        "--json",
        THUMBWHEEL_DATABASE_URL=f"postgresql://nobody:secret@127.0.0.1:{port}/none",
        THUMBWHEEL_REDIS_URL=f"redis://127.0.0.1:{port}/0",
        THUMBWHEEL_DATA_DIR=str(tmp_path / "file" / "data"),
        THUMBWHEEL_ARTIFACTS_URL=str(tmp_path / "file" / "artifacts"),
    )

    assert done.returncode == 1
    said = findings(done)
    assert "THUMBWHEEL_DATABASE_URL" in said["Postgres"]["said"]
    assert "THUMBWHEEL_REDIS_URL" in said["Redis"]["said"]
    assert "THUMBWHEEL_DATA_DIR" in said["Data folder"]["said"]
    assert "THUMBWHEEL_ARTIFACTS_URL" in said["Artifacts"]["said"]
    assert [name for name, finding in said.items() if finding["state"] == "wrong"] == [
        "Postgres",
        "Redis",
        "Data folder",
        "Artifacts",
    ]
    assert "secret" not in done.stdout


def test_a_bucket_is_tried_out_and_one_that_is_missing_is_wrong(tmp_path, monkeypatch):
    with bucket_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

        missing = doctor("--json", THUMBWHEEL_DATA_DIR=str(tmp_path), **environment)
        made = bucket()
        made.make_bucket_versioned(BUCKET)
        versioned = doctor("--json", THUMBWHEEL_DATA_DIR=str(tmp_path), **environment)
        left = made.find(BUCKET)

    assert missing.returncode == 1
    assert f"bucket {BUCKET} does not exist: make it" in findings(missing)["Artifacts"]["said"]
    assert versioned.returncode == 0, versioned.stdout
    assert findings(versioned)["Artifacts"]["state"] == "note"
    assert "erased files stay there as old versions" in findings(versioned)["Artifacts"]["said"]
    assert left == []


def test_old_tables_are_wrong(servers, tmp_path):
    with services.embedded_postgres(servers.folder / "old", durable=False) as empty:
        done = doctor("--json", THUMBWHEEL_DATABASE_URL=empty.url, THUMBWHEEL_DATA_DIR=str(tmp_path))

    assert done.returncode == 1
    assert "tables at None" in findings(done)["Postgres"]["said"]
    assert "run `thumbwheel migrate`" in findings(done)["Postgres"]["said"]


def test_a_setting_that_cannot_be_read_is_named_and_a_table_says_so_to_people():
    done = doctor(THUMBWHEEL_PORT="eighty")

    assert done.returncode == 1
    assert "wrong  Settings" in done.stdout
    assert "THUMBWHEEL_PORT" in done.stdout
