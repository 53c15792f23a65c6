"""A worker that is frozen past its lease costs a run one attempt, and wakes in a folder that no longer counts.

Workers here are processes of their own, where root may in pid namespaces of their own, as containers are.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.services import wait_until
from tests.desk import claim, execute, expire, make_project, request, shown, vote
from tests.saved_models import saved_model
from tests.trainer import tiny
from worker.children.heartbeat import Heartbeat
from worker.children.processes import Left, attend
from worker.staging.attempt_folders import run_folder, workdir_of
from worker.staging.inherit_state import INPUTS
from worker.staging.workdir import stage
from worker.training.train import train

LOOK = "import sys, uuid; from worker.execute import look; look(uuid.UUID(sys.argv[1]), lambda: False)"
CHANGES = {
    "preset": "cpu-demo",
    "changes": {
        "method": "full", "batch_size": 4, "micro_batch_size": 2, "epochs": 30, "max_steps": 100, "save_every_steps": 5,
        "max_length": 64, "lambda_desirable": 1.0, "lambda_undesirable": 1.0, "drift": {"checks": 0},
        "evaluation": {"kl_prompts": 2, "kl_max_new_tokens": 2, "bootstrap": 100},
    },
}  # fmt: skip
PATIENCE = 240  # seconds after which a wait counts as a hang


def _own_namespace() -> list[str]:
    alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    try:
        return alone if subprocess.run([*alone, "true"], capture_output=True).returncode == 0 else []
    except OSError:
        return []


@contextmanager
def worker_on(run_id) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*_own_namespace(), sys.executable, "-c", LOOK, str(run_id)], start_new_session=True)
    try:
        yield process
    finally:
        for pid in [process.pid, *descendants(process.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()


def descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [below for child in map(int, children) for below in (child, *descendants(child))]


def working(pids: list[int]) -> list[int]:
    """Returns the living processes among `pids`."""
    alive = []
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                alive.append(pid)
        except OSError:
            continue
    return alive


def artifacts_of(run_id):
    """Returns all rows that a worker may write for a run: run, history, metrics and checkpoint."""
    return (
        execute("SELECT * FROM runs WHERE id = :id", id=run_id),
        execute("SELECT * FROM run_transitions WHERE run_id = :id ORDER BY id", id=run_id),
        execute("SELECT * FROM run_metrics WHERE run_id = :id ORDER BY step", id=run_id),
        execute("SELECT * FROM checkpoints WHERE run_id = :id", id=run_id),
    )


@pytest.mark.timeout(600)
@pytest.mark.trial
def test_a_frozen_worker_costs_one_attempt_and_the_weights_are_those_of_an_undisturbed_run(database, tmp_path):
    # given a worker that is frozen with its trainer after a few steps
    make_project(base_model=tiny.save_model(tmp_path / "base", seed=3), recipe=CHANGES)
    vote(60)
    run = request()
    with worker_on(run.id) as frozen:
        first = run_folder(run.id) / "epoch-1"
        assert wait_until(lambda: any(first.glob("state/step-*")), PATIENCE)
        everything = [frozen.pid, *descendants(frozen.pid)]
        for pid in everything:
            os.kill(pid, signal.SIGSTOP)
        assert not (first / "training.json").exists()
        undisturbed = tmp_path / "undisturbed"
        for name in INPUTS:
            if (first / name).is_dir():
                shutil.copytree(first / name, undisturbed / name)
        for name in ("job.json", "recipe.json"):
            shutil.copy(first / name, undisturbed)
        expire(run.id)

        # when another worker takes the run
        with worker_on(run.id) as second:
            assert second.wait(PATIENCE) == 0

        # then it succeeds in the next attempt, from the saved state
        ended = shown(run.id)
        assert (ended.state, ended.attempts) == ("succeeded", 2)
        assert execute("SELECT lost FROM runs WHERE id = :id", id=run.id) == [(1,)]

        # and the thawed worker changes no row and ends
        before = artifacts_of(run.id)
        for pid in everything:
            os.kill(pid, signal.SIGCONT)
        assert frozen.wait(PATIENCE) == 0
        assert wait_until(lambda: not working(everything), PATIENCE)
        assert artifacts_of(run.id) == before

    # and an undisturbed trainer arrives at the same weights
    train(undisturbed)
    trained = json.loads((undisturbed / "training.json").read_bytes())
    assert execute("SELECT weights_sha256 FROM checkpoints WHERE run_id = :id", id=run.id) == [
        (trained["weights_sha256"],)
    ]


WATCHED = (
    "import pathlib, sys, time; from worker.training.machine.lease_watch import end_with_lease\n"
    "end_with_lease(pathlib.Path(sys.argv[1])); print('works', flush=True); time.sleep(600)"
)


@contextmanager
def watched(workdir) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", WATCHED, workdir],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"works\n"
            yield process
        finally:
            process.kill()


def test_a_trainer_whose_worker_is_frozen_ends_by_itself_once_the_lease_is_over(tmp_path):
    (tmp_path / "lease.json").write_text('{"epoch": 1, "seconds": 0.5}')

    with watched(tmp_path) as trainer:
        assert trainer.wait(120) == -signal.SIGKILL
        assert trainer.stderr is not None
        assert trainer.stderr.read() == b"the lease of this attempt is over: ended\n"


def test_a_trainer_whose_folder_was_taken_over_ends_by_itself(tmp_path):
    (tmp_path / "lease.json").write_text('{"epoch": 1, "seconds": 600}')

    with watched(tmp_path) as trainer:
        (tmp_path / "lease.json").unlink()
        assert trainer.wait(120) == -signal.SIGKILL


def test_a_trainer_whose_lease_is_renewed_works_on(database, tmp_path, monkeypatch):
    """Waits for longer than the lease lasts without a renewal."""
    make_project(base_model=saved_model(tmp_path / "base"))
    vote()
    claimed = claim(request().id)
    with Heartbeat(claimed.lease, lambda: False) as heart:
        heart.show_in(tmp_path)
        (tmp_path / "lease.json").write_text('{"epoch": 1, "seconds": 3}')
        with watched(tmp_path) as trainer, pytest.raises(subprocess.TimeoutExpired):
            trainer.wait(3.5)


def test_no_process_is_signalled_by_a_number_in_a_file(database, tmp_path, monkeypatch):
    make_project(base_model=saved_model(tmp_path / "base"))
    vote()
    claimed = claim(request().id)
    workdir = workdir_of(claimed.lease)
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        # a lock of an earlier version, whose process id now belongs to another program
        run_folder(claimed.lease.run_id).mkdir(parents=True)
        for folder in (run_folder(claimed.lease.run_id), workdir):
            folder.mkdir(exist_ok=True)
            (folder / ".lock").write_text(f"{stranger.pid}\n")
        stage(claimed, workdir)
        (workdir / "ends.py").write_text("raise SystemExit(75)")
        monkeypatch.setenv("PYTHONPATH", str(workdir))

        with Heartbeat(claimed.lease, lambda: False) as heart, pytest.raises(Left):
            attend("trainer", "ends", workdir, heart, shown(claimed.lease.run_id).state)

        assert stranger.poll() is None
        stranger.kill()
