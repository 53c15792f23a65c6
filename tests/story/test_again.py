"""A run that is paused, cancelled, retried and finally reproduced, with real processes throughout."""

import pytest
from thumbwheel import wire

from tests.story.desk import desk, ended, events, processes_with, training_after, wait

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack"), pytest.mark.timeout(600)]


def test_a_paused_run_keeps_its_state_which_its_retry_takes_over_and_a_reproduction_has_the_same_weights(
    stack, base_model
):
    with desk(stack, "again", base_model) as client:
        client.events.record_many(events(60))
        changes = {"epochs": 8, "drift": {"checks": 0}}
        first = training_after(stack, client, client.runs.start(wire.NewRun(changes=changes)).id, steps=2)

        # when it is paused, its processes end and its state stays, even after a cancellation
        client.runs.pause(first.id)
        wait(stack, "the pause", lambda: client.runs.get(first.id).transitions[-1].kind == "returned", 60)
        assert not processes_with(f"work/{first.id}")
        assert client.runs.get(first.id).state == "training"
        assert client.runs.cancel(first.id).state == "cancelled"

        # when it is retried, the new run continues from that state to the end
        second = ended(stack, client, client.runs.retry(first.id).id)
        assert second.state == "succeeded", second.reason
        assert "taken_over" in [transition.kind for transition in second.transitions]
        steps = [line["step"] for line in client.runs.metrics(second.id).steps]
        assert steps == list(range(1, len(steps) + 1))

        # then a reproduction from the beginning arrives at the same weights
        third = ended(stack, client, client.runs.reproduce(second.id).id)
        assert (third.state, third.reproduces) == ("succeeded", True), third.reason
        assert third.recipe == second.recipe
