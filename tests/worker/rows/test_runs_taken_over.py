"""A retried run continues from the state of its source, if that state is on this machine."""

import json

import pytest
from thumbwheel import wire

from app.database import transaction
from app.runs.again import service as again
from app.runs.leases import service as leases
from tests.desk import DESK, claim, make_project, request, shown, vote
from tests.saved_models import saved_model
from worker.staging.attempt_folders import workdir_of
from worker.staging.workdir import stage


@pytest.fixture
def failed(database, tmp_path):
    """A run that failed with a saved state, and its WORKDIR; its micro-batch size is automatic."""
    make_project(base_model=saved_model(tmp_path / "base"))
    vote()
    claimed = claim(request(changes={"micro_batch_size": "auto"}).id)
    workdir = workdir_of(claimed.lease)
    stage(claimed, workdir)
    state = workdir / "state" / "step-000010"
    state.mkdir(parents=True)
    for name in ("weights.safetensors", "optimizer.safetensors", "files.sha256", "state.json"):
        (state / name).write_text(name.partition(".")[0])
    (workdir / "metrics.jsonl").write_text('{"step": 10}\n')
    (workdir / "failure.json").write_text("{}")
    with transaction() as session:
        leases.fail(session, claimed.lease, "because")
    return claimed.lease.run_id, workdir


def begun_again(run_id, do=again.retry):
    with transaction() as session:
        second = do(session, DESK, run_id, wire.RunAgain(), "ann")
    claimed = claim(second.id)
    workdir = workdir_of(claimed.lease)
    stage(claimed, workdir)
    return claimed, workdir


def test_a_retry_goes_on_from_the_state_of_its_source_which_keeps_it(failed):
    run_id, source = failed

    claimed, workdir = begun_again(run_id)

    saved = workdir / "state" / "step-000010" / "weights.safetensors"
    assert saved.read_text() == "weights"
    assert saved.samefile(source / "state" / "step-000010" / "weights.safetensors")
    assert not (workdir / "metrics.jsonl").samefile(source / "metrics.jsonl")
    assert not (workdir / "failure.json").exists()
    assert json.loads((workdir / "job.json").read_bytes())["run_id"] == str(claimed.lease.run_id)
    assert (workdir / "recipe.json").read_bytes() == (source / "recipe.json").read_bytes()
    last = shown(claimed.lease.run_id).transitions[-1]
    assert (last.kind, last.reason) == ("taken_over", f"goes on from the saved state of run {run_id}")


def test_a_reproduction_begins_from_the_start(failed):
    _, workdir = begun_again(failed[0], again.reproduce)

    assert not (workdir / "state").exists()


def test_a_state_by_another_recipe_is_not_taken_over(failed):
    run_id, source = failed
    recipe = json.loads((source / "recipe.json").read_bytes())
    (source / "recipe.json").write_text(json.dumps(recipe | {"beta": 0.5}))

    claimed, workdir = begun_again(run_id)

    assert not (workdir / "state").exists()
    assert shown(claimed.lease.run_id).transitions[-1].kind == "claimed"
