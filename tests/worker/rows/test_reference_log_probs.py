"""The reference's log-probs are passed from run to run through the real store to the real trainer."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app import artifacts, settings
from app.database import transaction
from app.runs.leases import service as leases
from app.runs.leases.service import Claimed
from app.snapshots import service as snapshots
from tests.desk import at_once, checkpoint, claim, execute, make_project, request, shown, vote
from tests.saved_models import saved_model
from worker import registration
from worker.execute import look
from worker.staging.attempt_folders import workdir_of
from worker.staging.workdir import stage
from worker.training.files.sealed import write_sealed


@pytest.fixture
def base_model(tmp_path: Path) -> Path:
    return saved_model(tmp_path / "base")


@pytest.fixture
def desk(database: str, base_model: Path) -> None:
    make_project(base_model=base_model)
    vote()


def staged(**new: Any) -> tuple[Claimed, UUID, Path]:
    """Claims a run and stages its WORKDIR for the trainer."""
    claimed = claim(request(**new).id)
    workdir = workdir_of(claimed.lease)
    return claimed, stage(claimed, workdir), workdir


def end(claimed: Claimed) -> None:
    with transaction() as session:
        leases.fail(session, claimed.lease, "it was only a test")


def known_to(workdir: Path) -> set[bytes]:
    return {path.read_bytes() for path in (workdir / "scored-before").glob("*.safetensors")}


def keep(claimed: Claimed, snapshot_id: UUID, workdir: Path, content: str) -> None:
    write_sealed(workdir / "reference.safetensors", content.encode())
    registration.keep_log_probs(claimed, snapshot_id, workdir)


def rows() -> int:
    [(count,)] = execute("SELECT count(*) FROM reference_log_probs")
    return int(count)


def test_what_one_run_scored_the_next_ones_over_the_same_reference_take(desk: None, tmp_path: Path) -> None:
    from tests.trainer import tiny
    from worker.training.train import train

    # given a run that fails after its training
    tiny.save_model(tmp_path / "base")
    changes = {"method": "full", "micro_batch_size": 4, "batch_size": 16, "epochs": 1, "drift": {"checks": 0}}

    def trained(**more: Any) -> dict[str, int]:
        claimed, snapshot_id, workdir = staged(changes={**changes, **more})
        train(workdir)
        registration.keep_log_probs(claimed, snapshot_id, workdir)
        end(claimed)
        figures: dict[str, int] = json.loads((workdir / "training.json").read_bytes())["reference"]
        return figures

    first = trained()
    assert first["scored"] > 0
    assert first["cached"] == 0

    # then a run with another recipe scores nothing and stores nothing twice
    assert trained(beta=0.4) == {"scored": 0, "cached": first["scored"]}
    assert rows() == 1

    # and a run on a larger snapshot scores the new rows and the new mismatched pairs
    vote(10, start=40)
    larger = trained()
    assert larger["cached"] >= first["scored"] / 2
    assert larger["scored"] > 0
    assert rows() == 2


def test_a_run_finds_the_files_of_its_reference_alone(desk: None, tmp_path: Path) -> None:
    other = checkpoint(tmp_path)
    claimed, snapshot_id, workdir = staged()
    keep(claimed, snapshot_id, workdir, "of the base model")
    with transaction() as session:
        (tmp_path / "scored").write_text("of another checkpoint")
        snapshots.keep_log_probs(session, snapshot_id, other, tmp_path / "scored")
    end(claimed)

    _, _, workdir = staged()

    assert known_to(workdir) == {b"of the base model"}


def test_two_runs_that_keep_the_same_at_once_keep_it_once(desk: None) -> None:
    claimed, snapshot_id, workdir = staged()
    write_sealed(workdir / "reference.safetensors", b"scored")

    at_once(4, lambda _: registration.keep_log_probs(claimed, snapshot_id, workdir))

    assert rows() == 1
    end(claimed)
    assert known_to(staged()[2]) == {b"scored"}


def test_what_the_store_has_lost_or_damaged_is_left_out(desk: None) -> None:
    claimed, snapshot_id, workdir = staged()
    for content in ("lost", "damaged", "whole"):
        keep(claimed, snapshot_id, workdir, content)
    stored = {Path(artifacts.path_of(sha256)).read_text(): sha256 for (sha256,) in hashes()}
    Path(artifacts.path_of(stored["lost"])).unlink()
    Path(artifacts.path_of(stored["damaged"])).write_text("something else")
    end(claimed)

    assert known_to(staged()[2]) == {b"whole"}


def hashes() -> Any:
    return execute("SELECT sha256 FROM reference_log_probs")


def test_of_many_files_those_about_the_run_s_snapshot_come_first(desk: None, tmp_path: Path) -> None:
    claimed, snapshot_id, workdir = staged()
    keep(claimed, snapshot_id, workdir, "of this snapshot")
    end(claimed)
    vote(10, start=40)
    claimed, larger_id, workdir = staged()
    for number in range(snapshots.LOG_PROBS_FILES):
        keep(claimed, larger_id, workdir, f"of the larger one, {number}")

    with transaction() as session:
        snapshots.stage_log_probs(session, snapshot_id, claimed.reference_checkpoint_id, tmp_path / "found")

    staged_files = {path.read_text() for path in (tmp_path / "found").iterdir()}
    assert len(staged_files) == snapshots.LOG_PROBS_FILES
    assert "of this snapshot" in staged_files


@pytest.mark.trial
def test_a_run_that_fails_leaves_what_it_scored_to_later_ones(desk: None, base_model: Path) -> None:
    # given a run whose trainer scored the reference in an earlier attempt; now its base model is gone
    claimed, _, workdir = staged()
    write_sealed(workdir / "reference.safetensors", b"scored")
    with transaction() as session:
        leases.release(session, claimed.lease)
    (base_model / "config.json").unlink()

    look(claimed.lease.run_id, lambda: False)

    assert shown(claimed.lease.run_id).state == "failed"
    saved_model(base_model)
    assert known_to(staged()[2]) == {b"scored"}


def test_damaged_log_probs_are_not_kept_for_later_runs(desk: None) -> None:
    claimed, snapshot_id, workdir = staged()
    write_sealed(workdir / "reference.safetensors", b"scored")
    (workdir / "reference.safetensors").write_bytes(b"scorec")

    registration.keep_log_probs(claimed, snapshot_id, workdir)

    assert rows() == 0


def test_a_store_that_takes_nothing_does_not_fail_the_run(desk: None) -> None:
    claimed, snapshot_id, workdir = staged()
    aside = Path(settings.current().artifacts) / "aside"
    if aside.exists():
        aside.rmdir()
    aside.write_text("no folder")
    try:
        keep(claimed, snapshot_id, workdir, "scored and never stored")
    finally:
        aside.unlink()

    assert rows() == 0


def test_a_snapshot_is_not_deleted_without_the_log_probs_of_its_rows(desk: None) -> None:
    claimed, snapshot_id, workdir = staged()
    keep(claimed, snapshot_id, workdir, "scored")
    end(claimed)
    execute("UPDATE runs SET snapshot_id = NULL")

    with pytest.raises(Exception, match="reference_log_probs"):
        execute("DELETE FROM snapshots WHERE id = :id", id=snapshot_id)
