"""Comparisons and sweeps: their runs are requested one after another, once each, whatever dies in between."""

from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from thumbwheel import wire
from thumbwheel.wire.recipe_resolution import resolve

from app import artifacts
from app.checkpoints import few_shots, held_out_scores
from app.checkpoints import service as checkpoints
from app.checkpoints.held_out_scores import HeldOutScores
from app.database import new_id, transaction
from app.errors import Conflict, Invalid, NotFound, Refused, Unavailable
from app.loop import service as loop
from app.releases import service as releases
from app.runs import commands
from app.runs import service as runs
from app.runs.comparisons import service as comparisons
from app.runs.leases import service as leases
from app.runs.leases.service import Claimed
from app.runs.states import RunState
from app.snapshots.tables import Snapshot
from tests.desk import DESK, advance, at_once, claim, execute, request, shown, snapshot, vote

pytestmark = pytest.mark.usefixtures("project")


def start(*arms: Any, **how: Any) -> wire.ComparisonJob:
    new = wire.NewComparison(arms=list(arms or ("kto", "bco", "sft")), **how)
    with transaction() as session:
        return comparisons.request(session, DESK, new, "ann")


def sweep(**how: Any) -> wire.ComparisonJob:
    with transaction() as session:
        return comparisons.request(session, DESK, wire.NewSweep(**how), "ann")


def look(job: wire.ComparisonJob) -> wire.ComparisonJob:
    comparisons.look_at(job.id)
    return current(job)


def current(job: wire.ComparisonJob) -> wire.ComparisonJob:
    with transaction(read_only=True) as session:
        return comparisons.get(session, DESK, job.id)


def children(job: wire.ComparisonJob) -> list[wire.Run]:
    """The runs of the job, in the order of their requests."""
    with transaction() as session:
        return [run for run in runs.page(session, DESK, cursor=None, limit=200).items if run.group_id == job.id][::-1]


def looks(job: wire.ComparisonJob) -> int:
    """The number of messages that tell a worker to look at the job."""
    return execute("SELECT count(*) FROM outbox WHERE arguments ->> 'comparison_id' = :id", id=str(job.id))[0][0]


def figure(value: float, half: float = 0.02) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def store_snapshot(claimed: Claimed) -> None:
    """Stores a snapshot of the run as a row without files, which is quicker than building one."""
    counts = {"desirable": 20, "undesirable": 20, "weight_desirable": 20.0, "weight_undesirable": 20.0}
    values = {"project_id": DESK, "sha256": "a" * 64, "watermark": claimed.watermark, "files": {}}
    with transaction() as session:
        row = Snapshot(id=new_id(), manifest={"counts": {"train": counts, "holdout": counts}}, **values)
        session.add(row)
        session.flush()
        leases.snapshotted(session, claimed.lease, row.id, resolve(claimed.recipe, 20.0, 20.0))


def train(
    run: wire.Run,
    folder: Path,
    *,
    auroc: float | None = 0.7,
    kl: float = 0.1,
    samples: pa.Table | None = None,
    scores_of_rows: HeldOutScores | None = None,
    with_examples: HeldOutScores | None = None,
    **more_scores: Any,
) -> UUID:
    """Takes the run from its claim to a registered checkpoint with these figures, and returns the checkpoint's id."""
    claimed = claim(run.id)
    if claimed.snapshot_id is None:
        store_snapshot(claimed)
    advance(claimed.lease, RunState.REFERENCING, RunState.TRAINING, RunState.EVALUATING)
    weights = folder / f"{run.id}.safetensors"
    weights.write_text(f"weights of {run.id}")
    files = {"adapter_model.safetensors": artifacts.put(weights).sha256}
    if samples is not None:
        pq.write_table(samples, folder / "samples.parquet")
        files["samples.parquet"] = artifacts.put(folder / "samples.parquet").sha256
    if scores_of_rows is not None:
        held_out_scores.write(folder / held_out_scores.FILE, scores_of_rows)
        files[held_out_scores.FILE] = artifacts.put(folder / held_out_scores.FILE).sha256
    if with_examples is not None:
        held_out_scores.write(folder / few_shots.SCORES, with_examples)
        files[few_shots.SCORES] = artifacts.put(folder / few_shots.SCORES).sha256
    missing = {"value": None, "low": None, "high": None, "reason": "one class is absent"}
    scores = {
        **more_scores,
        "auroc": missing if auroc is None else figure(auroc),
        "kl": {"nats_per_token": figure(kl, 0.01)},
        "length": {"ratio": 1.1},
    }
    manifest = {
        "kind": "adapter",
        "scores": scores,
        "training": {"base_fingerprint": "f" * 64},
        "verdict": "passed",
        "reasons": [],
    }
    with transaction() as session:
        return leases.finish(session, claimed.lease, weights_sha256="a" * 64, files=files, manifest=manifest)


def fail(run: wire.Run, reason: str = "because") -> None:
    claimed = claim(run.id)
    with transaction() as session:
        leases.fail(session, claimed.lease, reason)


def test_the_first_run_builds_the_snapshot_and_the_others_use_it_with_the_same_reference_and_watermark(tmp_path):
    job = start("kto", "sft", "untouched", note="which one")
    vote(20, start=40)
    first = children(job)
    assert [run.recipe.objective for run in first] == ["kto"]
    train(first[0], tmp_path, auroc=0.7)
    assert looks(job) == 1

    job = look(job)
    kto, sft = children(job)
    train(sft, tmp_path, auroc=0.9)
    job = look(job)

    assert (sft.snapshot_id, sft.reference_checkpoint_id) == (shown(kto.id).snapshot_id, kto.reference_checkpoint_id)
    assert sft.recipe.lambda_desirable == 1.0  # resolved by the snapshot
    assert execute("SELECT count(DISTINCT watermark) FROM runs")[0][0] == 1
    assert (job.state, job.runs_planned, job.runs_ended, job.note) == ("succeeded", 2, 2, "which one")
    assert job.snapshot_id == sft.snapshot_id
    assert {arm.name: arm.auroc.value for arm in job.arms} == {"kto": 0.7, "sft": 0.9, "untouched": 0.5}
    assert job.recommendation.arm == "sft"
    assert sft.trigger == f"comparison {job.id}, arm sft, seed 42"


def test_each_seed_is_a_run_and_all_arms_have_one_before_any_has_two(tmp_path):
    job = start("kto", "bco", seeds=2)
    for number in range(4):
        train(children(job)[number], tmp_path, auroc=0.7 + 0.1 * (number % 2))
        job = look(job)

    assert [(run.recipe.objective, run.recipe.seed) for run in children(job)] == [
        ("kto", 42), ("bco", 42), ("kto", 43), ("bco", 43)
    ]  # fmt: skip
    assert (job.state, job.recommendation.arm) == ("succeeded", "bco")
    assert [arm.seeds for arm in job.arms] == [2, 2]


def test_any_number_of_looks_at_any_moment_requests_each_run_once(tmp_path):
    job = start()
    at_once(4, lambda _: comparisons.look_at(job.id))
    assert len(children(job)) == 1  # it has not ended

    train(children(job)[0], tmp_path)
    at_once(4, lambda _: comparisons.look_at(job.id))

    assert [run.recipe.objective for run in children(job)] == ["kto", "bco"]


def test_a_lost_message_is_made_up_for_by_the_tick(tmp_path):
    job = start()
    train(children(job)[0], tmp_path)
    execute("DELETE FROM outbox")  # the broker lost its data, or the worker was killed before it looked

    loop.tick()
    loop.tick()

    assert [run.state for run in children(job)] == ["succeeded", "queued"]


def test_a_failing_run_does_not_stop_the_others_and_is_shown_with_its_reason(tmp_path):
    job = start("kto", "bco")
    fail(children(job)[0], "the model folder is empty")
    job = look(job)
    train(children(job)[1], tmp_path)

    job = look(job)

    assert job.state == "succeeded"
    kto, _ = job.arms
    assert (kto.runs[0].state, kto.runs[0].reason, kto.auroc.value) == ("failed", "the model folder is empty", None)
    assert job.recommendation.arm == "bco"
    assert job.recommendation.passed_over.keys() == {"kto"}


def test_a_job_of_which_all_runs_failed_has_failed():
    job = start("kto", "bco")
    for number in range(2):
        fail(children(job)[number])
        job = look(job)

    assert (job.state, job.reason) == ("failed", "none of its 2 runs succeeded; the last one: because")
    assert job.recommendation.arm is None


def test_cancelling_ends_the_job_and_its_runs_and_keeps_the_figures(tmp_path):
    job = start()
    train(children(job)[0], tmp_path, auroc=0.8)
    look(job)

    with transaction() as session:
        cancelled = comparisons.cancel(session, DESK, job.id, "ann")
    with transaction() as session:
        comparisons.cancel(session, DESK, job.id, "ann")  # changes nothing
    loop.tick()

    assert (cancelled.state, cancelled.reason) == ("cancelled", "cancelled by ann")
    assert [run.state for run in children(job)] == ["succeeded", "cancelled"]
    assert cancelled.arms[0].auroc.value == 0.8
    assert current(job) == cancelled


def test_a_run_that_a_worker_holds_is_cancelled_with_its_job_by_that_worker():
    job = start()
    claimed = claim(children(job)[0].id)

    with transaction() as session:
        comparisons.cancel(session, DESK, job.id, "ann")
    assert shown(claimed.lease.run_id).state == "cancelling"
    with transaction() as session:
        leases.cancelled(session, claimed.lease)

    assert look(job).state == "cancelled"
    assert [run.state for run in children(job)] == ["cancelled"]


def test_what_has_ended_cannot_be_cancelled_and_what_is_unknown_is_not_found():
    job = start("kto", "untouched")
    fail(children(job)[0])
    look(job)

    with pytest.raises(Conflict, match="has failed and cannot be cancelled"), transaction() as session:
        comparisons.cancel(session, DESK, job.id, "ann")
    with pytest.raises(NotFound), transaction() as session:
        comparisons.get(session, DESK, UUID(int=1))


def test_a_run_that_an_operator_cancels_by_itself_counts_as_ended(tmp_path):
    job = start("kto", "bco")
    with transaction() as session:
        commands.cancel(session, DESK, children(job)[0].id, "ann")
    assert looks(job) == 1

    job = look(job)

    assert [run.state for run in children(job)] == ["cancelled", "queued"]


def test_a_comparison_waits_behind_an_active_run_and_keeps_its_own_recipe_and_watermark(tmp_path):
    other = request()
    job = start({"name": "mild", "changes": {"beta": 0.7}}, "untouched")
    vote(10, start=40)
    (child,) = children(job)
    assert child.waiting

    fail(other)

    child = shown(child.id)
    assert (child.waiting, child.recipe.beta) == (False, 0.7)
    assert execute("SELECT watermark FROM runs WHERE id = :id", id=child.id)[0][0] == job.watermark == 40


def test_labels_that_only_a_comparison_learnt_from_are_still_new_and_start_a_run_after_it(tmp_path):
    execute("""UPDATE projects SET configuration = configuration || '{"trigger": {"new_per_class": 10}}'""")
    job = start("kto", "untouched")
    loop.tick()
    assert len(execute("SELECT FROM runs")) == 1  # the comparison's run is active

    train(children(job)[0], tmp_path)
    loop.tick()

    assert execute("SELECT trigger FROM runs WHERE group_id IS NULL") == [
        ("trigger: 20 new desirable and 20 new undesirable labels (required: 10 of each)",)
    ]


def test_an_erasure_in_the_snapshot_ends_the_job_before_its_next_run(tmp_path):
    job = start()
    train(children(job)[0], tmp_path)
    snapshot_id = shown(children(job)[0].id).snapshot_id
    execute(
        "INSERT INTO snapshot_redactions (snapshot_id, erasure_id, rows, shards, redacted_at) "
        "VALUES (:id, :id, 1, '[]', now())",
        id=snapshot_id,
    )

    job = look(job)

    assert job.state == "failed"
    assert f"rows of its snapshot {snapshot_id} were deleted" in (job.reason or "")
    assert len(children(job)) == 1


def test_an_existing_snapshot_is_used_by_every_run(tmp_path):
    snapshot_id = snapshot_of_an_ended_run(tmp_path)
    vote(10, start=40)

    job = start("sft", "untouched", snapshot_id=snapshot_id)

    (child,) = children(job)
    assert (child.snapshot_id, job.watermark) == (snapshot_id, 40)
    with pytest.raises(NotFound), transaction() as session:
        comparisons.request(session, DESK, wire.NewComparison(arms=["kto", "sft"], snapshot_id=UUID(int=1)), "ann")


def test_an_arm_that_has_nothing_to_learn_from_is_refused_by_its_name_and_nothing_is_stored(tmp_path):
    for how in ({}, {"snapshot_id": snapshot_of_an_ended_run(tmp_path)}):
        with pytest.raises(Refused) as refused:
            start("kto", "dpo", "orpo", **how)
        named = {arm for reason in refused.value.reasons for arm in reason.partition(":")[0].split(", ")}
        assert named == {"dpo", "orpo"}
        assert "pairs" in refused.value.message
    assert execute("SELECT FROM comparisons") == []


CREDIT = wire.NewArm(name="credit", changes=wire.RecipeChanges(objective="tkto", edit_kept_weight=0.1))


def test_the_first_run_finds_what_edits_kept_if_any_arm_weighs_it():
    kept_spans = []
    for arms in (("kto", CREDIT), ("kto", "bco")):
        claimed = claim(children(start(*arms))[0].id)
        kept_spans.append((claimed.recipe.objective, claimed.kept_spans))
        with transaction() as session:
            leases.fail(session, claimed.lease, "because")

    assert kept_spans == [("kto", True), ("kto", False)]


def test_an_arm_that_weighs_edits_cannot_learn_from_a_snapshot_without_what_they_kept(tmp_path):
    with pytest.raises(Refused) as refused:
        start("kto", CREDIT, snapshot_id=snapshot_of_an_ended_run(tmp_path))

    [reason] = refused.value.reasons
    assert reason.startswith(
        "credit: edit_kept_weight is 0.1, and the snapshot lacks the parts that edits kept: leave "
    )


def snapshot_of_an_ended_run(folder: Path) -> UUID:
    claimed = claim(request().id)
    snapshot(claimed, folder)
    with transaction() as session:
        leases.fail(session, claimed.lease, "because")
    snapshot_id = shown(claimed.lease.run_id).snapshot_id
    assert snapshot_id is not None
    return snapshot_id


def test_a_budget_is_translated_to_recipe_fields_and_said_in_words():
    small: dict[str, Any] = {"changes": {"batch_size": 16}}
    budget = {"votes": 16, "tokens": 5000, "steps": 7}
    job = start({"name": "kto", **small}, {"name": "sft", **small}, "untouched", budget=budget)

    (run,) = children(job)
    rows = execute("SELECT count(*) FROM events")[0][0]
    assert (run.recipe.max_tokens, run.recipe.max_steps) == (5000, 7)
    assert 16 / rows < run.recipe.prompt_share < 1  # the rows without those held out
    kto, sft, untouched = job.arms
    assert kto.budget[0].startswith("about 16 of ")
    assert kto.budget[1:] == [
        "learns from all of them", "at most 5,000 tokens", "1 epoch in steps of 16 rows, at most 7"
    ]  # fmt: skip
    assert "learns from the desirable ones of them" in sft.budget
    assert untouched.budget == ["no training: it is the reference"]


def test_a_project_has_a_limited_number_of_running_jobs():
    for _ in range(comparisons.MOST_RUNNING):
        start("kto", "untouched")

    with pytest.raises(Conflict, match="wait until one has ended, or cancel one"):
        start("kto", "untouched")


# -- sweeps -----------------------------------------------------------------------------------------------------------


def test_a_halving_requests_the_best_points_again_with_more_steps_when_a_rung_has_ended(tmp_path):
    job = sweep(space={"beta": [0.1, 0.2, 0.3, 0.4]}, search="halving", rungs=[5, 20], keep=2)
    for number, (auroc, kl) in enumerate([(0.6, 0.1), (0.9, 0.9), (None, 0.1), (0.7, 0.1)]):  # 0.2 is over the budget
        train(children(job)[number], tmp_path, auroc=auroc, kl=kl)
        job = look(job)

    assert (job.state, job.runs_planned) == ("running", 6)
    for number, auroc in ((4, 0.65), (5, 0.75)):
        train(children(job)[number], tmp_path, auroc=auroc)
        job = look(job)

    assert [(run.recipe.beta, run.recipe.max_steps) for run in children(job)[3:]] == [(0.4, 5), (0.1, 20), (0.4, 20)]
    assert (job.state, job.runs_planned) == ("succeeded", 6)
    assert job.recommendation.arm == "beta=0.4"
    assert [len(arm.runs) for arm in job.arms] == [2, 1, 1, 2]  # every trial is kept
    assert job.recommendation.passed_over["beta=0.2"] == "left after rung 1 of 2"


def test_a_halving_ends_after_a_rung_without_figures(tmp_path):
    job = sweep(space={"beta": [0.1, 0.2]}, search="halving", rungs=[5, 20], keep=2)
    fail(children(job)[0])
    look(job)
    train(children(job)[1], tmp_path, auroc=None)

    job = look(job)

    assert (job.state, job.recommendation.arm) == ("succeeded", None)
    assert "no held-out AUROC (one class is absent)" in job.recommendation.reason


def test_a_point_outside_the_range_of_a_field_is_named_and_nothing_is_stored():
    with pytest.raises(Invalid) as wrong:
        sweep(space={"beta": [0.1, -1]})

    assert [fault.pointer for fault in wrong.value.faults] == ["/space/beta"]
    assert execute("SELECT FROM comparisons") == []


# -- paired differences -----------------------------------------------------------------------------------------------


def samples(extra_tokens: int) -> pa.Table:
    rows = [
        {
            "source": "holdout", "group": f"prompt {number}", "model": model, "decoding": "sampled",
            "tokens": 10 + number % 3 + (extra_tokens if model == "candidate" else 0),
            "lp_candidate": -5.0, "lp_shipped": -5.5,
        }
        for number in range(20)
        for model in ("candidate", "shipped")
    ]  # fmt: skip
    return pa.Table.from_pylist(rows)


def test_arms_with_samples_of_the_same_prompts_are_compared_prompt_by_prompt(tmp_path):
    job = start("kto", "bco", "untouched")
    train(children(job)[0], tmp_path, auroc=0.9, samples=samples(3))
    look(job)
    train(children(job)[1], tmp_path, auroc=0.6, samples=samples(1))

    job = look(job)

    bco, untouched = job.differences
    assert [(each.first, each.second) for each in job.differences] == [("kto", "bco"), ("kto", "untouched")]
    # prompts differ, the arms do not: a paired interval has no width
    assert (bco.prompts, bco.tokens.value, bco.tokens.low, bco.tokens.high) == (20, 2, 2, 2)
    assert (untouched.tokens.value, untouched.kl_nats_per_completion.value) == (3, 0.5)


def row_scores(lift: float) -> HeldOutScores:
    rows = np.arange(200)
    noise = np.random.default_rng(0).normal(size=200)
    places = [("holdout-text.parquet", int(row)) for row in rows]
    return HeldOutScores(places, rows, rows % 2 == 0, np.ones(200), noise + lift * (rows % 2 == 0))


def test_arms_whose_intervals_overlap_are_told_apart_by_their_scores_of_the_same_rows(tmp_path):
    job = start("kto", "bco", "untouched")
    train(children(job)[0], tmp_path, auroc=0.72, scores_of_rows=row_scores(1.0))
    look(job)
    train(children(job)[1], tmp_path, auroc=0.71, scores_of_rows=row_scores(0.8))

    job = look(job)

    bco, untouched = job.differences
    assert (bco.second, bco.prompts, bco.tokens.value) == ("bco", 0, None)
    assert bco.auroc.low is not None
    assert 0 < bco.auroc.low < untouched.auroc.low
    assert job.recommendation.arm == "kto"
    assert "above bco by" in job.recommendation.reason


def test_arms_are_paired_over_all_of_their_seeds_or_not_at_all(tmp_path):
    job = start("kto", "untouched", seeds=2)
    train(children(job)[0], tmp_path, auroc=0.9, samples=samples(3), scores_of_rows=row_scores(1.0))
    look(job)
    train(children(job)[1], tmp_path, auroc=0.9)

    [untouched] = look(job).differences

    assert (untouched.prompts, untouched.auroc.value) == (20, None)
    assert untouched.auroc.reason == "not every seed of both arms has scores of single rows"


def test_a_job_that_ends_while_the_artifact_store_is_away_gets_its_paired_differences_when_it_is_back(tmp_path):
    job = start("kto", "untouched")
    train(children(job)[0], tmp_path, auroc=0.9, samples=samples(3))
    store = Path(artifacts.location())
    store.rename(tmp_path / "aside")
    store.write_text("no folder")

    with pytest.raises(Unavailable):
        look(job)

    assert current(job).state == "running"
    store.unlink()
    (tmp_path / "aside").rename(store)
    assert [each.second for each in look(job).differences] == ["untouched"]


# -- arms that are not trained, or start from another base model ------------------------------------------------------


def test_the_first_run_that_succeeds_measures_the_reference_with_examples(tmp_path):
    job = start("kto", "bco", "sft", "few_shots", "untouched", budget={"votes": 32})
    fail(children(job)[0])
    look(job)
    measured = {"count": 4, "auroc": figure(0.6), "kl": {"nats_per_token": figure(0.1)}}
    train(
        children(job)[1], tmp_path, auroc=0.9, few_shots=measured,
        scores_of_rows=row_scores(1.0), with_examples=row_scores(0.2),
    )  # fmt: skip
    look(job)
    train(children(job)[2], tmp_path, auroc=0.7, scores_of_rows=row_scores(0.5))

    job = look(job)

    assert [run.recipe.evaluation.few_shots for run in children(job)] == [4, 4, 0]
    arm = job.arms[3]
    assert (arm.runs, arm.auroc.value, arm.kl_nats_per_token.value) == ([], 0.6, 0.1)
    assert arm.budget == ["no training: it is the reference with 4 examples before each prompt"]
    [paired] = [each for each in job.differences if each.second == "few_shots"]
    assert paired.auroc.low is not None
    assert paired.auroc.low > 0
    assert job.recommendation.arm == "bco"
    assert "above few_shots by" in job.recommendation.reason


def test_an_arm_with_another_base_model_is_trained_and_measured_against_it_on_the_same_snapshot(tmp_path):
    smaller = {"name": "smaller", "base_model": "/models/small"}
    with transaction() as session:  # the base model is registered once
        comparisons.cancel(session, DESK, start("kto", smaller).id, "ann")
    job = start("kto", smaller, "untouched", kl_budget=1)
    train(children(job)[0], tmp_path, auroc=0.7, samples=samples(3), tokenizer="a", suites=suites_of(0.9, 0.8))
    look(job)
    child = children(job)[1]
    checkpoint = train(child, tmp_path, auroc=0.95, samples=samples(1), tokenizer="b", suites=suites_of(0.6, 0.5))

    job = look(job)

    [base] = execute("SELECT id FROM checkpoints WHERE kind = 'base' AND base_model = '/models/small'")
    arm = job.arms[1]
    assert child.reference_checkpoint_id == arm.reference_checkpoint_id == base[0] != job.reference_checkpoint_id
    assert (child.snapshot_id, arm.base_model) == (shown(children(job)[0].id).snapshot_id, "/models/small")
    assert arm.budget[0] == "starts from /models/small, which is its reference"
    assert job.recommendation.arm == "kto"
    [paired] = [each for each in job.differences if each.second == "smaller"]
    assert "base model of its own" in (paired.auroc.reason or "")
    assert paired.kl_nats_per_completion.value is None
    assert (paired.tokens.value, paired.tokens.reason) == (None, "their base models may have different tokenizers")
    assert (arm.suites["manners"].value, job.arms[2].suites["manners"].value) == (0.6, 0.8)

    # it may ship after the project has that base model, and not before
    with transaction(read_only=True) as session:
        assert checkpoints.get(session, DESK, checkpoint).base_model == "/models/small"
    with pytest.raises(Refused, match="descends from the base model /models/small"):
        ship(checkpoint)
    with transaction() as session:
        releases.start_over(session, DESK, wire.NewBaseModel(base_model="/models/small"), "ann")
    assert ship(checkpoint).checkpoint_id == checkpoint


def suites_of(candidate: float, shipped: float) -> dict[str, Any]:
    return {"manners": {"candidate": {"pass_share": figure(candidate)}, "shipped": {"pass_share": figure(shipped)}}}


def ship(checkpoint: UUID) -> wire.Release:
    with transaction() as session:
        return releases.ship(session, DESK, wire.NewRelease(checkpoint_id=checkpoint, reason="better"), "ann")


def test_a_snapshot_is_built_for_the_shipped_checkpoint_whichever_base_model_its_run_has():
    job = start("kto", {"name": "smaller", "base_model": "/models/small"})
    fail(children(job)[0])
    look(job)

    claimed = claim(children(job)[1].id)

    assert claimed.reference_checkpoint_id != claimed.shipped_checkpoint_id == job.reference_checkpoint_id


def test_a_base_model_that_cannot_be_one_is_named_and_nothing_is_stored():
    with pytest.raises(Invalid, match="looks like the name of a model on a hub") as wrong:
        start("kto", {"name": "smaller", "base_model": "org/small"})

    assert [fault.pointer for fault in wrong.value.faults] == ["/arms/1/base_model"]
    assert execute("SELECT FROM checkpoints WHERE base_model = 'org/small'") == []
