"""A comparison whose runs are worked on by real processes: examples before each prompt, and another base model."""

import pytest
from thumbwheel import wire

from app.checkpoints import few_shots
from app.checkpoints import service as checkpoints
from app.database import transaction
from app.runs.comparisons import service as comparisons
from app.suites.versions import service as suites
from tests.desk import DESK, execute, make_project, vote
from tests.trainer import tiny
from worker.execute import look
from worker.staging.attempt_folders import run_folder

SUITE = wire.Suite.model_validate(
    {
        "name": "greeting",
        "prompts": ["Say {{word}}"],
        "tests": [{"vars": {"word": word}, "assert": [{"type": "icontains", "value": "a"}]} for word in ("a", "b")],
    }
)
CHANGES = {
    "method": "lora", "batch_size": 8, "micro_batch_size": 4, "max_length": 64, "drift": {"checks": 0},
    "evaluation": {"kl_prompts": 6, "kl_max_new_tokens": 8, "bootstrap": 100, "replay": 2},
}  # fmt: skip


@pytest.mark.trial
def test_a_comparison_measures_examples_and_a_smaller_base_model_beside_training(database, tmp_path):
    base = tiny.save_model(tmp_path / "base", num_hidden_layers=1, max_position_embeddings=256)
    small = tiny.save_model(tmp_path / "small", num_hidden_layers=1, hidden_size=8, max_position_embeddings=256)
    make_project(base_model=base, recipe={"preset": "lora-small", "changes": CHANGES})
    vote()
    with transaction() as session:
        suites.create(session, DESK, wire.NewSuite(suite=SUITE), "key test")
        suites.decide(session, DESK, wire.NewSuiteAdoption(name="greeting", version=1), "key test")
        arms = ["kto", {"name": "few_shots", "changes": {"evaluation": {"few_shots": 2}}}, "untouched"]
        smaller = {"name": "smaller", "base_model": str(small)}
        job = comparisons.request(session, DESK, wire.NewComparison(arms=[*arms, smaller], kl_budget=100), "ann")

    for _ in range(2):
        [(run_id,)] = execute("SELECT id FROM runs WHERE state = 'queued'")
        look(run_id, lambda: False)
        comparisons.look_at(job.id)

    with transaction() as session:
        job = comparisons.get(session, DESK, job.id)
        kto, _, untouched, other = job.arms
        measurer, of_other = (checkpoints.get(session, DESK, arm.runs[0].checkpoint_id) for arm in (kto, other))
    assert job.state == "succeeded"
    assert [run.reason for arm in job.arms for run in arm.runs] == [None, None]
    for arm in job.arms:
        for figure in (arm.auroc, arm.kl_nats_per_token, arm.length_ratio, arm.suites["greeting"]):
            assert figure.low is not None, (arm.name, figure)
    assert (untouched.auroc.value, measurer.scores["few_shots"]["count"]) == (0.5, 2)
    assert {few_shots.SCORES, few_shots.REPLIES} <= measurer.files.keys()
    assert few_shots.OUTPUTS not in measurer.files
    assert not list(run_folder(kto.runs[0].run_id).rglob(few_shots.OUTPUTS))  # it has texts
    assert "few_shots" not in of_other.scores
    # the same tokenizer in both folders: lengths can be compared
    paired = {each.second: each for each in job.differences}
    if job.recommendation.leading == "kto":
        assert paired["few_shots"].auroc.low is not None
    assert paired["smaller"].tokens.value is not None
    assert paired["smaller"].kl_nats_per_completion.value is None
    assert (of_other.base_model, of_other.parent_id) == (str(small), other.reference_checkpoint_id)
