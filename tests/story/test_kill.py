"""Cancelled runs. Killed ones are tested in tests/chaos."""

import pytest
from thumbwheel import wire

from tests.story.desk import desk, ended, events, processes_with, training_after

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("stack"), pytest.mark.timeout(600)]


def test_a_cancelled_run_ends_within_seconds_and_leaves_no_process(stack, base_model):
    with desk(stack, "cancelled", base_model) as client:
        client.events.record_many(events(60))
        endless = wire.NewRun(changes={"epochs": 100, "batch_size": 4})
        run = training_after(stack, client, client.runs.start(endless).id, steps=1)

        assert client.runs.cancel(run.id).state == "cancelling"

        run = ended(stack, client, run.id)
        assert run.state == "cancelled"
        assert run.checkpoint_id is None
        assert "cancelled by key" in (run.reason or "")
        assert not processes_with(f"work/{run.id}")
        assert [checkpoint.kind for checkpoint in client.checkpoints.list()] == ["base"]
