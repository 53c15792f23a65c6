"""A comparison with real processes: one snapshot, one pass of the reference, the same budget, and a recommendation."""

import json

import pytest
from thumbwheel import wire

from tests.story.desk import desk, events, wait

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("stack"), pytest.mark.timeout(600)]


def test_arms_are_trained_one_after_another_on_one_snapshot_and_one_reference_pass(stack, base_model, tmp_path):
    with desk(stack, "compared", base_model) as client:
        client.events.record_many(events(80))
        budget = wire.ArmBudget(votes=30, steps=6)
        new = wire.NewComparison(arms=["kto", "bco", "untouched"], budget=budget, kl_budget=1000.0)
        job = client.comparisons.start(new)

        wait(stack, "the end of the comparison", lambda: client.comparisons.get(job.id).state != "running")

        job = client.comparisons.get(job.id)
        assert (job.state, job.runs_ended) == ("succeeded", 2), job.arms
        manifests = []
        for arm in job.arms[:2]:
            checkpoint = arm.runs[0].checkpoint_id
            assert checkpoint is not None
            client.checkpoints.pull(checkpoint, tmp_path / arm.name)
            manifests.append(json.loads((tmp_path / arm.name / "manifest.json").read_text()))
        assert {manifest["snapshot"]["id"] for manifest in manifests} == {str(job.snapshot_id)}
        kto, bco = (manifest["training"] for manifest in manifests)
        assert kto["steps"] == bco["steps"] == 6
        assert kto["rows_trained"] == bco["rows_trained"]
        assert bco["reference"]["scored"] == 0  # the pass of the first run is used
        assert bco["reference"]["cached"] > 0
        assert all(arm.auroc.value is not None and arm.kl_nats_per_token.high is not None for arm in job.arms)
        assert job.recommendation.leading in ("kto", "bco")
        assert client.releases.current().action == "start"  # nothing was shipped
