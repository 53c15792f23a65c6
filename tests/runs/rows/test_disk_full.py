"""A full disk ends no run: the run is released, waits with growing pauses, and continues once there is room."""

import errno
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from thumbwheel import wire

from app import settings
from app.cli.doctor import projects as doctor
from app.database import now, transaction
from app.runs import commands
from app.runs.full_disk import service as full_disk
from app.runs.leases import service as leases
from app.runs.leases.lease import Lease
from app.runs.states import RunState
from tests.desk import DESK, advance, claim, execute, make_project, messages, reap, request, shown, vote
from tests.file_limits import files_no_larger_than
from tests.saved_models import saved_model
from worker.children.heartbeat import Heartbeat
from worker.children.processes import DiskFull, attend
from worker.execute import look
from worker.staging.attempt_folders import run_folder, workdir_of
from worker.staging.workdir import stage
from worker.training.watch.journal import Journal, lines

DISK = "the disk that holds /work"


def never() -> bool:
    return False


@pytest.fixture
def run(database: None, tmp_path: Path) -> wire.Run:
    make_project(base_model=saved_model(tmp_path / "base"))
    vote()
    return request()


def hold_up(lease: Lease) -> None:
    with transaction() as session:
        full_disk.hold_up(session, lease, DISK)


def held_up_for(run: wire.Run, waited: timedelta) -> None:
    """Changes the run as if it had waited for this time and its next attempt were due."""
    execute(
        "UPDATE runs SET held_up_since = :since, next_attempt_at = now() WHERE id = :id",
        since=now() - waited,
        id=run.id,
    )


# -- full disks -------------------------------------------------------------------------------------------------------


def test_a_run_that_finds_no_room_for_its_folder_waits_and_goes_on_once_there_is_some(run: wire.Run) -> None:
    with files_no_larger_than(500):
        look(run.id, never)

    waiting = shown(run.id)
    folder = run_folder(run.id) / "epoch-1"
    assert waiting.state == "snapshotting"
    assert waiting.held_up_by == f"the disk that holds {folder} is full: make room there"
    assert waiting.transitions[-1].kind == "held_up"
    assert waiting.transitions[-1].reason == (
        f"given back, as the disk that holds {folder} is full: make room there; it is tried again in 5 s"
    )
    assert execute("SELECT lost, lease_owner FROM runs") == [(0, None)]
    assert not folder.exists()  # it takes space and has no data for another attempt

    held_up_for(run, timedelta(seconds=5))
    look(run.id, lambda: True)

    assert shown(run.id).snapshot_id is not None
    assert (run_folder(run.id) / "epoch-2" / "job.json").exists()


def test_a_trainer_that_finds_no_room_has_its_run_wait(run: wire.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed = claim(run.id)
    stage(claimed, workdir := workdir_of(claimed.lease))
    monkeypatch.setenv("PYTHONPATH", str(workdir))
    (workdir / "finds_no_room.py").write_text("import sys\nsys.exit(73)\n")

    with Heartbeat(claimed.lease, never) as heart, pytest.raises(DiskFull) as full:
        attend("trainer", "finds_no_room", workdir, heart, RunState.REFERENCING)

    assert full.value.cause == f"the disk that holds {workdir}"


@pytest.fixture
def full_store(run: wire.Run) -> Iterator[Path]:
    """A file that fills the artifact store, which is a separate small disk."""
    store = Path(settings.current().artifacts)
    store.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "full", str(store)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this user cannot mount a small disk")
    try:
        with suppress(OSError), (store / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))
        yield store / "ballast"
    finally:
        subprocess.run(["umount", "--lazy", str(store)], check=True)


def test_a_full_artifact_store_has_the_run_wait(run: wire.Run, full_store: Path) -> None:
    look(run.id, never)

    waiting = shown(run.id)
    assert waiting.state == "snapshotting"
    assert waiting.held_up_by == f"the artifact store {full_store.parent} is full: make room there"
    assert execute("SELECT lost FROM runs") == [(0,)]

    full_store.unlink()
    held_up_for(run, timedelta(seconds=5))
    look(run.id, lambda: True)

    assert shown(run.id).snapshot_id is not None


def test_a_line_that_finds_no_room_is_not_half_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.warn(1, "first", "a" * 100)

    with files_no_larger_than(200), pytest.raises(OSError) as full:  # noqa: PT011 - the test checks errno
        journal.warn(2, "second", "b" * 100)
    journal.warn(3, "third", "c" * 100)
    journal.close()

    assert full.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert [line["step"] for line in lines(tmp_path / "warnings.jsonl")] == [1, 3]
    assert all(json.loads(line) for line in (tmp_path / "warnings.jsonl").read_text().splitlines())


# -- while it waits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waited", "pause"), [(0, 5), (5, 5), (40, 40), (300, 300), (4 * 3600, 600)], ids=lambda seconds: f"{seconds}s"
)
def test_pauses_grow_with_the_time_waited(run: wire.Run, waited: float, pause: float) -> None:
    claimed = claim(run.id)
    if waited:
        held_up_for(run, timedelta(seconds=waited))

    hold_up(claimed.lease)

    history = shown(run.id).transitions[-1].reason
    written_pause = float(history.removesuffix(" s").rpartition(" ")[2])
    assert written_pause == pause if waited in (0, 4 * 3600) else pause <= written_pause < pause + 60


def test_nobody_has_the_run_before_its_pause_is_over_and_then_a_worker_gets_one_message(run: wire.Run) -> None:
    hold_up(claim(run.id).lease)
    message_count = len(messages())

    with transaction() as session:
        assert leases.claim(session, run.id, "worker 2") is None
    assert reap() == 0
    held_up_for(run, timedelta(seconds=5))
    assert (reap(), reap()) == (1, 0)

    assert len(messages()) == message_count + 1
    assert claim(run.id, "worker 2").lease.epoch == 2


def test_no_attempt_is_lost_however_often_it_is_tried(run: wire.Run) -> None:
    for _ in range(2 * settings.current().run_attempts):
        hold_up(claim(run.id).lease)
        held_up_for(run, timedelta(minutes=1))

    assert execute("SELECT lost FROM runs") == [(0,)]
    assert shown(run.id).state == "snapshotting"


def test_once_it_was_full_for_a_day_the_run_fails_with_the_folder_and_the_remedy(run: wire.Run) -> None:
    hold_up(claim(run.id).lease)
    held_up_for(run, timedelta(hours=24))

    hold_up(claim(run.id).lease)

    failed = shown(run.id)
    assert failed.state == "failed"
    assert failed.reason == (
        f"{DISK} is full, and was for 24 hours: make room there and retry the run, it continues from the last training "
        "checkpoint"
    )
    assert (failed.held_up_by, failed.held_up_since, failed.next_attempt_at) == (None, None, None)


def report(lease: Lease, step: int) -> None:
    with transaction() as session:
        leases.report(session, lease, leases.Report(metrics=[{"step": step, "loss": 0.5}]))


def test_a_step_that_is_taken_for_the_first_time_ends_the_wait_and_one_that_is_taken_again_does_not(
    run: wire.Run,
) -> None:
    first = claim(run.id).lease
    advance(first, RunState.REFERENCING, RunState.TRAINING)
    report(first, 3)
    hold_up(first)
    held_up_for(run, timedelta(seconds=5))
    second = claim(run.id).lease

    report(second, 3)
    assert shown(run.id).held_up_by is not None
    report(second, 4)
    assert (shown(run.id).held_up_by, shown(run.id).held_up_since) == (None, None)


def test_a_state_that_is_reached_ends_the_wait(run: wire.Run) -> None:
    hold_up(claim(run.id).lease)
    held_up_for(run, timedelta(seconds=5))

    advance(claim(run.id).lease, RunState.REFERENCING)

    assert shown(run.id).held_up_by is None


def test_once_room_is_made_it_is_tried_at_once(run: wire.Run) -> None:
    hold_up(claim(run.id).lease)
    message_count = len(messages())

    with transaction() as session:
        commands.resume(session, DESK, run.id, "ann")

    assert len(messages()) == message_count + 1
    assert claim(run.id).lease.epoch == 2


def test_a_run_that_waits_for_room_can_be_cancelled(run: wire.Run) -> None:
    hold_up(claim(run.id).lease)

    with transaction() as session:
        ended = commands.cancel(session, DESK, run.id, "ann")

    assert (ended.state, ended.held_up_by, ended.next_attempt_at) == ("cancelled", None, None)


def test_the_doctor_names_runs_that_wait_for_room_with_the_remedy(run: wire.Run) -> None:
    assert doctor.held_up_runs(settings.current()).state == "ok"
    hold_up(claim(run.id).lease)

    finding = doctor.held_up_runs(settings.current())

    assert finding.state == "wrong"
    assert f"run {run.id} of project desk waits since" in finding.said
    assert f"{DISK} is full: make room there" in finding.said
