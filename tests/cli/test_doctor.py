"""`thumbwheel doctor` lists what works; a fault comes with its remedy and exit code 1."""

import os
import re

import pytest
from sqlalchemy import text
from thumbwheel import wire

from app import outbox, services
from app.cli.doctor import processes
from app.database import transaction
from app.messages import HOUSEKEEPING, Task
from app.project_setup import service as project_setup
from app.webhooks.endpoints import service as endpoints
from tests.cli.conftest import Done, in_own_process, with_these_settings_alone
from tests.services.bucket import BUCKET, bucket, bucket_server
from tests.suites.model_server import Reply, chat, model_server


def doctor(*options: str, **environment: str) -> Done:
    """Runs the command with these settings alone."""
    return with_these_settings_alone(["doctor", *options], {"COLUMNS": "300", **environment})


def findings(done: Done) -> dict[str, dict[str, str]]:
    return {finding["check"]: finding for finding in done.document["findings"]}


@pytest.fixture(autouse=True)
def without_torch(tmp_path, monkeypatch):
    """Replaces torch, which takes seconds to load and depends on the machine."""
    (tmp_path / "torch.py").write_text(
        "__version__ = '2'\nclass cuda:\n    is_available = staticmethod(lambda: False)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.fixture
def without_workers(monkeypatch):
    """Saves the wait for answers of workers, as none runs."""
    monkeypatch.setattr(processes, "REPLY_SECONDS", 0.1)


def states(done: Done) -> dict[str, str]:
    return {name: finding["state"] for name, finding in findings(done).items()}


@pytest.mark.xdist_group("stack")
@pytest.mark.trial
def test_all_is_well_while_everything_runs(stack, tmp_path):
    environment = {name: value for name, value in stack.environment.items() if name.startswith("THUMBWHEEL_")}
    environment["THUMBWHEEL_API_KEY"] = stack.admin_key or ""

    done = in_own_process(["doctor", "--json"], {**os.environ, **environment})

    assert done.code == 0, done.out
    report = findings(done)
    assert set(states(done)) >= {"API", "API key", "Workers", "Last tick", "Messages", "Base models"}
    assert report["Postgres"]["said"].endswith("tables up to date")
    assert "runs: worker@" in report["Workers"]["said"]
    assert report["Training"]["said"] == "torch 2, no GPU"


@pytest.mark.xdist_group("stack")
@pytest.mark.trial
def test_the_embedded_servers_of_a_running_stack_are_found_by_its_data_folder(stack):
    folder = stack.environment["THUMBWHEEL_DATA_DIR"]

    done = doctor(
        "--json", THUMBWHEEL_DATA_DIR=folder, THUMBWHEEL_URL=stack.base_url, THUMBWHEEL_BASE_MODELS="on_workers"
    )

    assert done.code == 0, done.out
    assert findings(done)["Postgres"]["said"].endswith("tables up to date")
    assert states(done)["Workers"] == "ok"
    assert "THUMBWHEEL_API_KEY is not set" in findings(done)["API key"]["said"]


def test_servers_without_api_worker_and_beat_are_wrong_each_with_its_remedy(
    migrated, database, tmp_path, without_workers
):
    address = f"http://127.0.0.1:{services.free_port()}"

    done = doctor("--json", **migrated.environment | {"THUMBWHEEL_DATA_DIR": str(tmp_path), "THUMBWHEEL_URL": address})

    assert done.code == 1
    report = findings(done)
    assert [name for name, state in states(done).items() if state == "wrong"] == ["API", "Workers", "Last tick"]
    assert "set THUMBWHEEL_URL to where it runs" in report["API"]["said"]
    assert "no worker takes runs and housekeeping: start `celery" in report["Workers"]["said"]
    assert "start the beat" in report["Last tick"]["said"]


def test_a_base_model_that_cannot_be_loaded_and_a_message_that_waits_are_wrong(
    migrated, database, tmp_path, without_workers
):
    with transaction() as session:
        project_setup.create(session, wire.NewProject(project="desk", base_model="/models/none", suites=[]))
        outbox.put(session, Task("worker.tasks.nobody", HOUSEKEEPING))
        session.flush()
        session.execute(text("UPDATE outbox SET created_at = now() - interval '10 minutes'"))

    done = doctor(
        "--json", **migrated.environment | {"THUMBWHEEL_DATA_DIR": str(tmp_path), "THUMBWHEEL_BASE_MODELS": "here"}
    )

    report = findings(done)
    assert report["Base models"]["state"] == "wrong"
    assert report["Base models"]["said"].startswith("desk: There is no folder /models/none here")
    assert report["Messages"]["state"] == "wrong"
    assert re.search(r"2 wait in the outbox, the oldest for 6\d\d s", report["Messages"]["said"])


def test_a_webhook_endpoint_that_is_disabled_is_a_note_with_the_way_back(migrated, database, tmp_path, without_workers):
    with transaction() as session:
        project_setup.create(session, wire.NewProject(project="desk", base_model="/models/none", suites=[]))
        endpoint = endpoints.create(session, "desk", wire.NewWebhookEndpoint(url="https://ops.example/"), "key test")
        endpoints.change(session, "desk", endpoint.id, wire.WebhookEndpointChange(enabled=False), "key test")

    done = doctor("--json", **migrated.environment | {"THUMBWHEEL_DATA_DIR": str(tmp_path)})

    finding = findings(done)["Webhooks"]
    assert finding["state"] == "note"
    assert f"{endpoint.id} of project desk: disabled by key test" in finding["said"]
    assert "`thumbwheel webhooks enable`" in finding["said"]


def test_a_misspelt_setting_is_wrong_and_the_right_name_is_suggested(tmp_path):
    done = doctor("--json", THUMBWHEEL_DATA_DIR=str(tmp_path), THUMBWHEEL_TICK_SECOND="3")

    assert done.code == 1
    assert "THUMBWHEEL_TICK_SECOND (did you mean THUMBWHEEL_TICK_SECONDS?)" in findings(done)["Setting names"]["said"]


def test_a_machine_without_settings_would_use_embedded_servers(tmp_path):
    done = doctor("--json", THUMBWHEEL_DATA_DIR=str(tmp_path))

    assert done.code == 0, done.out
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

    assert done.code == 1
    report = findings(done)
    assert "THUMBWHEEL_DATABASE_URL" in report["Postgres"]["said"]
    assert "THUMBWHEEL_REDIS_URL" in report["Redis"]["said"]
    assert "THUMBWHEEL_DATA_DIR" in report["Data folder"]["said"]
    assert "THUMBWHEEL_ARTIFACTS_URL" in report["Artifacts"]["said"]
    assert "is a file, not a folder" in report["Data folder"]["said"]
    assert {name for name, state in states(done).items() if state == "wrong"} >= {
        "Postgres",
        "Redis",
        "Data folder",
        "Artifacts",
    }
    assert "secret" not in done.out


@pytest.mark.trial
def test_a_bucket_is_tried_out_and_one_that_is_missing_is_wrong(tmp_path, monkeypatch):
    with bucket_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

        missing = doctor("--json", THUMBWHEEL_DATA_DIR=str(tmp_path), **environment)
        made = bucket()
        made.make_bucket_versioned(BUCKET)
        versioned = doctor("--json", THUMBWHEEL_DATA_DIR=str(tmp_path), **environment)
        left = made.find(BUCKET)

    assert missing.code == 1
    assert f"bucket {BUCKET} does not exist: make it" in findings(missing)["Artifacts"]["said"]
    assert versioned.code == 0, versioned.out
    assert findings(versioned)["Artifacts"]["state"] == "note"
    assert "erased files stay there as old versions" in findings(versioned)["Artifacts"]["said"]
    assert left == []


def test_old_tables_are_wrong(servers, tmp_path):
    with services.embedded_postgres(servers.folder / "old", durable=False) as empty:
        done = doctor("--json", THUMBWHEEL_DATABASE_URL=empty.url, THUMBWHEEL_DATA_DIR=str(tmp_path))

    assert done.code == 1
    assert "tables at None" in findings(done)["Postgres"]["said"]
    assert "run `thumbwheel migrate`" in findings(done)["Postgres"]["said"]


def test_a_setting_that_cannot_be_read_is_named_and_a_table_says_so_to_people():
    done = doctor(THUMBWHEEL_PORT="eighty")

    assert done.code == 1
    assert "wrong  Settings" in done.out
    assert "THUMBWHEEL_PORT" in done.out


JUDGE_KEY = "sk-doctor-0123456789"


def judged_by(url: str) -> dict[str, str]:
    return {"THUMBWHEEL_JUDGE_URL": url, "THUMBWHEEL_JUDGE_MODEL": "judge", "THUMBWHEEL_JUDGE_KEY": JUDGE_KEY}


@pytest.mark.parametrize(
    ("reply", "state", "finding"),
    [
        (chat('{"better": "first"}'), "ok", "judge answers in the right form"),
        (chat("As a large model, I cannot."), "note", "no JSON object"),
        (Reply(f'{{"detail": "no key {JUDGE_KEY}"}}'.encode(), 401), "note", "check THUMBWHEEL_JUDGE_URL"),
    ],
)
def test_a_judge_is_asked_one_question_and_a_useless_one_is_a_note(tmp_path, reply, state, finding):
    with model_server(lambda *_: reply) as server:
        done = doctor("--json", THUMBWHEEL_DATA_DIR=str(tmp_path), **judged_by(server.url))

    assert done.code == 0, done.out
    assert findings(done)["Judge"]["state"] == state
    assert finding in findings(done)["Judge"]["said"]
    assert len(server.requests) == 1
    assert JUDGE_KEY not in done.out + done.err


@pytest.mark.parametrize(
    ("settings", "name", "fault"),
    [
        ({"JUDGE_URL": "http://x/v1"}, "JUDGE_MODEL", "is missing"),
        ({"JUDGE_MODEL": "x"}, "JUDGE_MODEL", "has no effect without THUMBWHEEL_JUDGE_URL"),
        ({"JUDGE_URL": "judge.example", "JUDGE_MODEL": "x"}, "JUDGE_URL", "must begin with http"),
        ({"JUDGE_URL": "http://:1", "JUDGE_MODEL": "x"}, "JUDGE_URL", "name a host"),
        ({"JUDGE_URL": "http://me:s3cret@x/v1", "JUDGE_MODEL": "x"}, "JUDGE_URL", "no user name or password"),
        ({"JUDGE_KEY": "s3cret key"}, "JUDGE_KEY", "no header can carry"),
        ({"JUDGE_BUDGET": "0"}, "JUDGE_BUDGET", "greater than or equal to 2"),
        ({"JUDGE_TIMEOUT": "nan"}, "JUDGE_TIMEOUT", "less than or equal to 3600"),
    ],
)
def test_wrong_settings_of_the_judge_are_named_and_their_values_not_shown(tmp_path, settings, name, fault):
    done = doctor(
        "--json", THUMBWHEEL_DATA_DIR=str(tmp_path), **{f"THUMBWHEEL_{key}": value for key, value in settings.items()}
    )

    assert done.code == 1
    assert f"THUMBWHEEL_{name}: " in findings(done)["Settings"]["said"]
    assert fault in findings(done)["Settings"]["said"]
    assert "s3cret" not in done.out + done.err


def test_empty_settings_of_the_judge_are_unset_ones(tmp_path):
    done = doctor("--json", THUMBWHEEL_DATA_DIR=str(tmp_path), THUMBWHEEL_JUDGE_URL="", THUMBWHEEL_JUDGE_MODEL="")

    assert findings(done)["Judge"]["said"] == "none is configured: runs are not judged"
