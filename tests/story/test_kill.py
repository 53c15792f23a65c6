"""Runs that are disturbed: killed, cancelled, given what does not load."""

import os
import signal

import pytest
from thumbwheel import wire

from tests.story.desk import desk, ended, events, processes_with, training_after, wait

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(600)]

LONG = wire.NewRun(changes={"epochs": 60})


def test_a_run_whose_worker_is_killed_resumes_and_ends_with_the_same_weights(stack, base_model):
    with desk(stack, "killed", base_model) as client:
        client.record_many(events(60))
        run = training_after(stack, client, client.start_run(LONG).id, steps=20)
        worker = stack.supervisor.children["worker"].process.pid
        trainers = processes_with(f"worker.kto.train {stack.environment['THUMBWHEEL_DATA_DIR']}/work/{run.id}")
        assert trainers

        os.kill(worker, signal.SIGKILL)

        wait(stack, "the end of the trainer with its worker", lambda: not trainers.keys() & processes_with("kto.train"))
        disturbed = ended(stack, client, run.id)
        assert disturbed.state == "succeeded", disturbed.reason
        assert disturbed.attempts == 2
        assert any("fell silent" in move.reason for move in disturbed.transitions)
        steps = [line["step"] for line in client.metrics(run.id).steps]
        assert steps == list(range(1, len(steps) + 1))

        # The same recipe on the same snapshot against the same reference, left alone.
        undisturbed = ended(stack, client, client.start_run(LONG).id)

        assert undisturbed.state == "succeeded", undisturbed.reason
        assert undisturbed.attempts == 1
        assert undisturbed.snapshot_id == disturbed.snapshot_id
        weights = {client.checkpoint(made.checkpoint_id).weights_sha256 for made in (disturbed, undisturbed)}
        assert len(weights) == 1


def test_a_worker_that_is_asked_to_stop_gives_its_run_back_for_the_next_one(stack, base_model):
    with desk(stack, "restarted", base_model) as client:
        client.record_many(events(60))
        run = training_after(stack, client, client.start_run(LONG).id, steps=5)
        worker = stack.supervisor.children["worker"].process.pid

        os.kill(worker, signal.SIGTERM)

        run = ended(stack, client, run.id)
        assert run.state == "succeeded", run.reason
        assert run.attempts == 2
        assert not any("fell silent" in move.reason for move in run.transitions)


def test_a_cancelled_run_ends_within_seconds_and_leaves_no_process(stack, base_model):
    with desk(stack, "cancelled", base_model) as client:
        client.record_many(events(60))
        endless = wire.NewRun(changes={"epochs": 100, "batch_size": 4})
        run = training_after(stack, client, client.start_run(endless).id, steps=1)

        assert client.cancel_run(run.id).state == "cancelling"

        run = ended(stack, client, run.id)
        assert run.state == "cancelled"
        assert run.checkpoint_id is None
        assert "cancelled by key" in (run.reason or "")
        assert not processes_with(f"work/{run.id}")
        assert [checkpoint.kind for checkpoint in client.checkpoints()] == ["base"]


def test_a_model_folder_that_does_not_load_fails_the_run_with_one_sentence(stack, tmp_path):
    with desk(stack, "unloadable", tmp_path / "nothing-here") as client:
        client.record_many(events(60))

        run = ended(stack, client, client.start_run().id)

        assert run.state == "failed"
        assert run.reason == (
            f"base_model: {tmp_path / 'nothing-here'} holds no config.json: name a folder with a saved model"
        )
        assert client.start_run().state == "queued"
