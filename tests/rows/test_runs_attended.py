"""What a worker does with a run: real processes in a real WORKDIR, without Celery."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from time import monotonic

import pytest
from sqlalchemy import text

from app import services, settings
from app.checkpoints.card import card
from app.database import engine
from app.runs.states import RunState
from tests.rows.desk import DESK, claim, execute, expire, make_project, messages, request, shown, vote
from tests.rows.folders import saved_model
from worker import registration
from worker.attend import Failed, alone_in, attend
from worker.execute import look
from worker.follow import Follower, Lines
from worker.heartbeat import Heartbeat, Wish
from worker.staging import stage


def never() -> bool:
    return False


@pytest.fixture
def base_model(tmp_path):
    return saved_model(tmp_path / "base")


@pytest.fixture
def run(database, base_model):
    make_project(base_model=base_model)
    vote()
    return request()


@pytest.fixture
def workdir(run):
    folder = settings.current().work_dir / str(run.id)
    folder.mkdir(parents=True)
    return folder


def test_a_snapshot_of_what_was_erased_meanwhile_is_made_again(run, workdir):
    with engine().connect() as held, ThreadPoolExecutor(1) as worker:
        held.execute(text("SELECT FROM projects WHERE id = :id FOR NO KEY UPDATE"), {"id": DESK})
        attempt = worker.submit(look, run.id, never)
        end = monotonic() + 60
        while not (workdir / "snapshot").exists():
            assert monotonic() < end, "no snapshot was written"
        held.execute(text("UPDATE projects SET erasures = erasures + 1 WHERE id = :id"), {"id": DESK})
        held.commit()
        attempt.result()

    again = shown(run.id)
    assert again.state == "snapshotting"
    assert "was erased from the feedback" in again.transitions[-1].reason
    look(run.id, lambda: True)
    assert shown(run.id).snapshot_id is not None


def test_feedback_that_makes_no_snapshot_any_more_fails_the_run_with_the_reasons(run):
    execute("DELETE FROM events WHERE position > 3")

    look(run.id, never)

    ended = shown(run.id)
    assert ended.state == "failed"
    assert "makes no dataset to learn from" in (ended.reason or "")


def test_a_store_that_has_to_be_mended_fails_the_run_before_it_starts_and_says_what_to_mend(run, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("THUMBWHEEL_ARTIFACTS_URL", str(tmp_path / "file" / "store"))
    settings.current.cache_clear()

    look(run.id, never)

    monkeypatch.undo()
    settings.current.cache_clear()
    ended = shown(run.id)
    assert (ended.state, ended.snapshot_id) == ("failed", None)
    assert "point THUMBWHEEL_ARTIFACTS_URL at a folder" in (ended.reason or "")
    assert execute("SELECT count(*) FROM snapshots") == [(0,)]


def test_a_worker_that_was_asked_to_stop_gives_the_run_back_staged(run, base_model):
    look(run.id, lambda: True)

    assert shown(run.id).state == "snapshotting"
    # Once for the request, once for the return; the second one was delivered at once.
    assert messages() == []
    workdir = settings.current().work_dir / str(run.id)
    job = json.loads((workdir / "job.json").read_bytes())
    assert job["base_model"] == job["ancestor"] == str(base_model)
    assert job["reference"] == {"kind": "base"}

    (base_model / "config.json").unlink()
    look(run.id, never)
    assert shown(run.id).attempts == 2
    assert shown(run.id).state == "failed"


def test_a_run_that_somebody_has_is_left_alone(run):
    claimed = claim(run.id)

    look(run.id, never)

    assert shown(run.id).attempts == claimed.lease.epoch == 1


def test_a_crash_fails_the_run_with_the_last_line_that_was_said(run, workdir):
    claimed = claim(run.id)

    with Heartbeat(claimed.lease, never) as heart, pytest.raises(Failed) as failed:
        attend("trainer", "worker.no_such_module", workdir, heart, RunState.REFERENCING)

    assert "the trainer crashed with exit code 1: " in failed.value.cause
    assert "No module named worker.no_such_module" in failed.value.cause


def test_the_heart_sees_who_wants_the_run_to_end(run):
    claimed = claim(run.id)
    with Heartbeat(claimed.lease, lambda: True) as heart:
        assert heart.wish() is Wish.LEAVE
    with Heartbeat(claimed.lease, never) as heart:
        assert heart.wish() is None
        execute("UPDATE runs SET state = 'cancelling'")
        assert services.wait_until(lambda: heart.wish() is Wish.CANCEL, 10)
        expire(run.id)
        execute("UPDATE runs SET lease_owner = 'somebody else'")
        assert services.wait_until(lambda: heart.wish() is Wish.DROP, 10)


def test_a_process_of_a_frozen_worker_is_killed_before_the_next_one_starts(workdir):
    with alone_in(workdir) as lock:
        # It inherits the lock, as a trainer does; its worker would be frozen now.
        old = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[lock])
        os.pwrite(lock, f"{old.pid}\n".encode(), 0)

    with alone_in(workdir):
        assert old.wait(10) == -signal.SIGKILL


def test_lines_are_read_whole_and_a_replaced_file_from_its_beginning(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with closing(Lines(path)) as lines:
        assert lines.read() == ([], False)
        path.write_text('{"step": 1}\n{"step": 2}\n{"st')
        assert lines.read() == ([{"step": 1}, {"step": 2}], True)
        with path.open("a") as file:
            file.write('ep": 3}\n')
        assert lines.read() == ([{"step": 3}], False)

        # A resumed trainer cuts what it takes again, and writes on, longer than before.
        (tmp_path / "aside").write_text('{"step": 1}\n' + '{"step": 22}\n' * 9)
        (tmp_path / "aside").replace(path)

        read, anew = lines.read()
        assert anew
        assert read == [{"step": 1}, *[{"step": 22}] * 9]


def test_progress_becomes_a_report_of_the_run_s_state_alone(tmp_path):
    progress = tmp_path / "progress.jsonl"

    def tell(phase: str, done: int, second: int) -> None:
        at = f"2026-11-21T10:00:{second:02}.000+00:00"
        with progress.open("a") as file:
            file.write(json.dumps({"phase": phase, "done": done, "total": 10, "at": at}) + "\n")

    tell("training", 9, 0)  # of an earlier attempt
    with closing(Follower(tmp_path)) as follower:
        assert not follower.read()
        tell("loading", 0, 1)
        assert follower.read()
        assert follower.report(RunState.TRAINING).done is None
        tell("training", 2, 10)
        tell("training", 6, 18)
        (tmp_path / "warnings.jsonl").write_text('{"step": 2, "code": "x", "message": "lower the learning rate"}\n')
        assert follower.read()

        report = follower.report(RunState.TRAINING)

        assert (report.done, report.total, report.eta_seconds) == (6, 10, 8.0)
        assert report.warnings == ["lower the learning rate"]
        follower.sent()
        assert not follower.read()


def test_a_finished_workdir_becomes_a_manifest_with_the_recipe_as_it_was_trained_by(run, workdir):
    # given a WORKDIR as trainer and scorer leave it, where the micro-batch was left to the machine
    claimed = claim(run.id)
    stage(claimed, workdir)
    asked = json.loads((workdir / "recipe.json").read_bytes())
    trained = {**asked, "micro_batch_size": 4}
    (workdir / "recipe.json").write_text(json.dumps({**asked, "micro_batch_size": "auto"}))
    training = {"kind": "adapter", "weights_sha256": "ab" * 32, "steps": 3, "pairs_trained": None}
    (workdir / "training.json").write_text(json.dumps({**training, "recipe": trained}))
    (workdir / "scores.json").write_text(json.dumps({"rows": 4}))
    judged = {"completion_id": ["c1", "c2"], "desirable": [True, False], "suspicion": [0.25, 0.5]}
    (workdir / "suspicion.json").write_text(json.dumps(judged))
    (workdir / "output").mkdir()
    (workdir / "output" / "adapter_model.safetensors").write_text("weights")

    manifest = registration.manifest_of(claimed, run.id, workdir)

    assert manifest["recipe"] == trained == registration.recipe_of(workdir).model_dump(mode="json")
    assert manifest["training"] == training
    assert manifest["snapshot"]["pairs"] == {"train": 0, "holdout": 0}
    assert "| micro_batch_size | 4 |" in card(manifest)
    assert set(registration.store(manifest, workdir)) == {"adapter_model.safetensors", "manifest.json", "README.md"}
    assert registration.suspicions_of(workdir) == [("c1", True, 0.25), ("c2", False, 0.5)]


def test_the_trainer_learns_nothing_of_our_settings(run, workdir, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(workdir))
    (workdir / "says.py").write_text(
        "import json, os, sys\n"
        "json.dump({'code': 'said', 'message': str([n for n in os.environ if n.startswith('THUMBWHEEL')])},\n"
        "          open(sys.argv[1] + '/failure.json', 'w'))\n"
        "sys.exit(2)\n"
    )
    claimed = claim(run.id)

    with Heartbeat(claimed.lease, never) as heart, pytest.raises(Failed) as failed:
        attend("trainer", "says", workdir, heart, RunState.REFERENCING)

    assert failed.value.cause == "[]"
    assert claimed.project == DESK
