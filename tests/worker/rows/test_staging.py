"""Each attempt has a separate folder, which takes over what earlier attempts saved."""

import json

import pytest

from app.errors import StaleLease
from tests.desk import claim, expire, make_project, request, vote
from tests.saved_models import saved_model
from worker.staging.attempt_folders import run_folder, workdir_of
from worker.staging.sweep import sweep
from worker.staging.workdir import stage
from worker.training.files.sealed import seal_of, verify

CHECKPOINT = ("weights.safetensors", "optimizer.safetensors", "files.sha256", "state.json")


@pytest.fixture
def run_id(database, tmp_path):
    make_project(base_model=saved_model(tmp_path / "base"))
    vote()
    return request().id


def staged(run_id, owner="worker 1"):
    claimed = claim(run_id, owner)
    workdir = workdir_of(claimed.lease)
    stage(claimed, workdir)
    return claimed, workdir


def save_checkpoint(workdir, step, names=CHECKPOINT):
    folder = workdir / "state" / f"step-{step:06}"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text(f"{name} of step {step}")
    return folder


def test_a_worker_that_was_frozen_past_its_lease_stages_nothing_and_leaves_the_next_one_alone(run_id):
    frozen = claim(run_id, "frozen")
    expire(run_id)
    _, workdir = staged(run_id, "next")
    files = {path: path.stat().st_ino for path in workdir.rglob("*")}

    with pytest.raises(StaleLease):
        stage(frozen, workdir_of(frozen.lease))

    assert {path: path.stat().st_ino for path in workdir.rglob("*")} == files
    assert not (workdir_of(frozen.lease) / "job.json").exists()
    sweep()
    assert list(run_folder(run_id).iterdir()) == [workdir]


def test_the_next_attempt_continues_in_its_own_folder_and_the_earlier_one_goes(run_id):
    _, first = staged(run_id)
    save_checkpoint(first, 10)
    (first / "metrics.jsonl").write_text('{"step": 10}\n')
    job, recipe = ((first / name).read_bytes() for name in ("job.json", "recipe.json"))
    shards = sorted(path.name for path in (first / "snapshot").iterdir())
    with (first / "metrics.jsonl").open("a") as held_by_the_frozen_trainer:
        expire(run_id)

        _, second = staged(run_id, "next")
        held_by_the_frozen_trainer.write('{"step": 11}\n')

    assert second.name == "epoch-2"
    assert list(run_folder(run_id).iterdir()) == [second]
    assert (second / "state" / "step-000010" / "weights.safetensors").read_text() == "weights.safetensors of step 10"
    assert (second / "metrics.jsonl").read_text() == '{"step": 10}\n'
    assert (second / "job.json").read_bytes() == job
    assert (second / "recipe.json").read_bytes() == recipe
    assert sorted(path.name for path in (second / "snapshot").iterdir()) == shards


def test_what_is_not_whole_is_not_taken_over(run_id):
    _, first = staged(run_id)
    save_checkpoint(first, 5)
    save_checkpoint(first, 10, CHECKPOINT[:2])  # its owner is removing it
    (first / "state" / ".step-000015.part").mkdir()  # its owner is writing it
    expire(run_id)

    _, second = staged(run_id, "next")

    assert [path.name for path in (second / "state").iterdir()] == ["step-000005"]


@pytest.mark.parametrize("name", ["job.json", "recipe.json"])
def test_an_attempt_whose_job_is_damaged_is_staged_again_from_what_the_service_keeps(run_id, name):
    _, first = staged(run_id)
    job, recipe = ((first / name).read_bytes() for name in ("job.json", "recipe.json"))
    content = bytearray((first / name).read_bytes())
    content[len(content) // 2] ^= 1
    (first / name).write_bytes(content)
    expire(run_id)

    _, second = staged(run_id, "next")

    assert [(second / name).read_bytes() for name in ("job.json", "recipe.json")] == [job, recipe]
    assert all(verify(seal_of(second / name)) for name in ("job.json", "recipe.json", "snapshot/manifest.json"))


def test_an_attempt_that_was_never_staged_is_passed_over_for_the_one_before(run_id):
    _, first = staged(run_id)
    save_checkpoint(first, 5)
    expire(run_id)
    between = claim(run_id, "killed while it staged")
    workdir_of(between.lease).mkdir()
    expire(run_id)

    _, third = staged(run_id, "next")

    assert (third / "state" / "step-000005").is_dir()
    assert list(run_folder(run_id).iterdir()) == [third]


def test_a_folder_of_an_earlier_version_is_continued(run_id):
    _, first = staged(run_id)
    save_checkpoint(first, 5)
    for path in list(first.iterdir()):
        path.rename(run_folder(run_id) / path.name)
    expire(run_id)

    _, second = staged(run_id, "next")

    assert (second / "state" / "step-000005").is_dir()
    assert list(run_folder(run_id).iterdir()) == [second]


def test_a_host_without_the_earlier_folder_begins_from_the_same_snapshot(run_id):
    claimed, first = staged(run_id)
    before = json.loads((first / "snapshot" / "manifest.json").read_bytes())
    first.rename(run_folder(run_id).with_name("on another host"))
    expire(run_id)

    again, second = staged(run_id, "on this host")

    assert json.loads((second / "snapshot" / "manifest.json").read_bytes()) == before
    assert again.lease.epoch == claimed.lease.epoch + 1
