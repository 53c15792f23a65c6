"""Runs that are disturbed: killed, cancelled."""

import os
import signal

import pytest
from thumbwheel import wire

from tests.story.desk import desk, ended, events, processes_with, training_after, wait

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(600)]

LONG = wire.NewRun(changes={"epochs": 15})


def test_a_run_whose_worker_is_killed_and_then_restarted_ends_with_the_weights_of_an_undisturbed_one(stack, base_model):
    with desk(stack, "killed", base_model) as client:
        client.record_many(events(60))
        run = training_after(stack, client, client.start_run(LONG).id, steps=3)
        trainer = f"worker.kto.train {stack.environment['THUMBWHEEL_DATA_DIR']}/work/{run.id}"
        killed = processes_with(trainer).keys()
        assert killed

        os.kill(stack.supervisor.children["worker"].process.pid, signal.SIGKILL)

        # The trainer ends with its worker; when the lease has expired, the next worker continues.
        wait(stack, "the end of the trainer", lambda: not killed & processes_with(trainer).keys())
        wait(stack, "another trainer", lambda: processes_with(trainer))

        os.kill(stack.supervisor.children["worker"].process.pid, signal.SIGTERM)

        # A worker that is asked to stop has the state saved and gives the run back at once.
        disturbed = ended(stack, client, run.id)
        assert disturbed.state == "succeeded", disturbed.reason
        assert disturbed.attempts == 3
        assert len([move for move in disturbed.transitions if "fell silent" in move.reason]) == 1
        steps = [line["step"] for line in client.metrics(run.id).steps]
        assert steps == list(range(1, len(steps) + 1))

        # The same recipe on the same snapshot against the same reference, left alone.
        undisturbed = ended(stack, client, client.start_run(LONG).id)

        assert undisturbed.state == "succeeded", undisturbed.reason
        assert undisturbed.attempts == 1
        assert undisturbed.snapshot_id == disturbed.snapshot_id
        weights = {client.checkpoint(made.checkpoint_id).weights_sha256 for made in (disturbed, undisturbed)}
        assert len(weights) == 1


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
