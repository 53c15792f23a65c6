"""The scorer's results for a trained WORKDIR."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from thumbwheel.wire.recipe import recipe_of
from thumbwheel.wire.recipe_resolution import resolve

from app.checkpoints import held_out_scores, probe_file
from app.checkpoints.probe_file import Probe
from app.durable import sha256_of
from app.runs.comparisons.paired import auroc_difference
from app.snapshots.selection.pairs import pairs_of
from tests.trainer import tiny
from worker.evaluation.score import score
from worker.training.machine.process import Stopped, TrainingRefusal
from worker.training.train import train

QUICK: dict[str, Any] = {"evaluation": {"kl_prompts": 6, "kl_max_new_tokens": 8, "bootstrap": 100}, "epochs": 4}


def trained(workdir: Path, base: Path, **changes: Any) -> Path:
    """Trains with a holdout that repeats the training rows, so that learning shows; returns the WORKDIR."""
    rows = tiny.text_rows()
    tiny.stage(workdir, base, rows, [*rows, rows[0]], **{**QUICK, **changes})
    train(workdir)
    return workdir


def timeless(workdir: Path) -> dict[str, Any]:
    """Returns the scores without what depends on the machine's speed."""
    scores = tiny.document(workdir / "scores.json")
    return {**scores, "seconds": 0, "samples": {**scores["samples"], "seconds": 0, "tokens_per_second": 0}}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """The WORKDIR of a whole training of the bare base, scored."""
    workdir = trained(tmp_path_factory.mktemp("scored") / "w", base)
    score(workdir)
    return workdir


@pytest.mark.xdist_group("scored")
def test_a_trained_checkpoint_is_scored_against_reference_and_ancestor(scored: Path) -> None:
    scores = tiny.document(scored / "scores.json")
    assert (scores["rows"], scores["rows_desirable"], scores["rows_undesirable"], scores["groups"]) == (23, 9, 14, 22)
    assert scores["auroc"]["low"] <= scores["auroc"]["value"] <= scores["auroc"]["high"]
    assert scores["auroc"]["value"] > 0.8
    assert scores["accuracy"]["value"] > 0.5
    assert scores["margin"]["value"] > 0
    assert 0 <= scores["ece"]["value"] <= 1
    assert scores["z0"] >= 0
    assert scores["kl"]["samples"] == 6
    assert 0 < scores["kl"]["nats_per_token"]["value"] < scores["kl"]["nats_per_completion"]["value"]
    assert 1 <= scores["length"]["candidate_median"] <= 8
    assert scores["length"]["holdout_median"] > 5
    # the reference is the ancestor
    assert scores["auroc_vs_ancestor"] == scores["auroc"]
    assert scores["shipped_auroc_vs_ancestor"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert scores["auroc_difference"]["value"] == pytest.approx(scores["auroc"]["value"] - 0.5)
    last = tiny.lines(scored / "progress.jsonl")[-1]
    assert (last["phase"], last["done"]) == ("evaluating", last["total"])
    of_rows = held_out_scores.read(scored / held_out_scores.FILE)
    assert {place[1] for place in of_rows.places} == set(range(23))
    assert auroc_difference(of_rows, None)["value"] == pytest.approx(scores["auroc"]["value"] - 0.5)


@pytest.mark.xdist_group("scored")
def test_labels_that_contradict_what_was_learnt_are_suspected_where_the_holdout_is_large_enough(
    scored: Path, tmp_path: Path, base: Path
) -> None:
    # given a trained WORKDIR and a holdout of three times its rows, some with the opposite label
    rows = tiny.text_rows()
    turned = {1, 5, 8, 11, 14}
    holdout = [
        {**row, "label": row["label"] is not (number in turned)} for number, row in enumerate([*rows, *rows, *rows])
    ]
    workdir = tiny.stage(tmp_path / "w", base, rows, holdout, **QUICK)
    shutil.copytree(scored / "output", workdir / "output")

    score(workdir)

    # then these are more suspicious than the others; in a small holdout none is suspicious
    document = tiny.document(workdir / "suspicion.json")
    staged = pq.read_table(workdir / "snapshot" / "holdout-0.parquet").to_pylist()
    suspected = dict(zip(document["completion_id"], document["suspicion"], strict=True))
    labels = dict(zip(document["completion_id"], document["desirable"], strict=True))
    assert labels == {row["completion_id"]: row["label"] for row in staged}
    of_turned = [suspected[row["completion_id"]] for number, row in enumerate(staged) if number in turned]
    of_others = [suspected[row["completion_id"]] for number, row in enumerate(staged) if number not in turned]
    assert np.mean(of_turned) > 0.6 > 0.4 > np.mean(of_others)
    assert tiny.document(scored / "suspicion.json") == {"completion_id": [], "desirable": [], "suspicion": []}


def add_pairs(snapshot: Path) -> None:
    rows = pq.read_table(snapshot / "train-0.parquet").to_pylist()
    pairs = pairs_of((row["prompt"], row["label"]) for row in rows)
    pq.write_table(
        pa.Table.from_pylist([{"shard": "train-0.parquet", "chosen": up, "rejected": down} for up, down in pairs]),
        snapshot / "pairs.parquet",
    )
    listed = {"path": "pairs.parquet", "sha256": sha256_of(snapshot / "pairs.parquet"), "train": len(pairs)}
    manifest = tiny.document(snapshot / "manifest.json")
    (snapshot / "manifest.json").write_text(json.dumps({**manifest, "pairs": {**listed, "holdout": 0}}))


@pytest.mark.xdist_group("scored")
def test_rows_count_by_their_weights(scored: Path, tmp_path: Path, base: Path) -> None:
    # given one training, and holdouts in which row 4 has a weight of 2, occurs twice, has a weight of 0, or is missing
    rows = tiny.text_rows()
    heavy, light = ([{**row, "weight": weight} if row is rows[4] else row for row in rows] for weight in (2.0, 0.0))

    def scores_of(holdout: list[dict[str, Any]], name: str) -> dict[str, Any]:
        staged = tiny.stage(tmp_path / name, base, rows, holdout, **QUICK)
        shutil.copytree(scored / "output", staged / "output")
        score(staged)
        return timeless(staged)

    weighted, twice = scores_of(heavy, "weighted"), scores_of([*rows, rows[4]], "twice")
    unheard, absent = scores_of(light, "unheard"), scores_of([*rows[:4], *rows[5:]], "absent")

    # then AUROC and margin, which do not depend on z0, equal those of two copies; a weight of 0 equals a missing row
    assert weighted["auroc"]["value"] == pytest.approx(twice["auroc"]["value"])
    assert weighted["margin"]["value"] == pytest.approx(twice["margin"]["value"], rel=1e-4)
    assert weighted["margin"]["value"] != pytest.approx(scores_of(rows, "plain")["margin"]["value"], rel=1e-4)
    assert (weighted["rows"], weighted["rows_weight_desirable"], weighted["rows_weight_undesirable"]) == (22, 8.0, 15.0)
    assert unheard == absent


@pytest.mark.xdist_group("scored")
def test_a_micro_batch_that_was_left_to_the_machine_is_the_measured_one(tmp_path: Path, scored: Path) -> None:
    workdir = tmp_path / "w"
    shutil.copytree(scored, workdir)
    measured = timeless(workdir)

    recipe = tiny.document(workdir / "recipe.json")
    (workdir / "recipe.json").write_text(json.dumps({**recipe, "micro_batch_size": "auto"}))
    score(workdir)

    assert timeless(workdir) == measured


@pytest.mark.parametrize("objective", ["sft", "dpo", "simpo"])
def test_every_kind_of_objective_is_scored_on_single_rows_against_the_reference(
    tmp_path: Path, base: Path, objective: str
) -> None:
    rows = [
        {**row, "prompt": f"{number // 2}:", "label": number % 2 == 0} for number, row in enumerate(tiny.text_rows())
    ]
    lambdas = {"lambda_desirable": "auto", "lambda_undesirable": "auto"}
    recipe = resolve(recipe_of("full", {**tiny.RECIPE, **QUICK, "objective": objective, **lambdas}), 11.0, 11.0)
    workdir = tiny.stage(tmp_path / "w", base, rows, rows, **recipe.model_dump())
    add_pairs(workdir / "snapshot")
    train(workdir)

    score(workdir)

    scores = tiny.document(workdir / "scores.json")
    assert (scores["rows_desirable"], scores["rows_undesirable"], scores["groups"]) == (11, 11, 11)
    assert scores["auroc"]["value"] is not None
    assert objective == "sft" or scores["auroc"]["value"] > 0.6  # sft learns nothing of undesirable rows
    assert scores["kl"]["nats_per_token"]["value"] > 0


@pytest.mark.xdist_group("scored")
def test_scoring_twice_gives_the_same_figures(tmp_path: Path, scored: Path) -> None:
    workdir = tmp_path / "w"
    shutil.copytree(scored, workdir)
    first, samples = timeless(workdir), (workdir / "samples.parquet").read_bytes()

    with pytest.raises(Stopped):
        score(workdir, tiny.StopAfter(5))
    score(workdir)

    assert timeless(workdir) == first
    assert (workdir / "samples.parquet").read_bytes() == samples


def test_the_shipped_adapter_has_an_auroc_of_its_own_against_the_ancestor(
    tmp_path: Path, base: Path, adapter: Path
) -> None:
    workdir = trained(tmp_path / "w", base, adapter=adapter, method="lora", epochs=1)

    score(workdir)

    probe = Probe.model_validate_json((workdir / probe_file.FILE).read_bytes())
    assert all(each.candidate.log_probs != each.base.log_probs for each in probe.prompts)
    scores = tiny.document(workdir / "scores.json")
    shipped, candidate = scores["shipped_auroc_vs_ancestor"], scores["auroc_vs_ancestor"]
    assert shipped["low"] < shipped["value"] < shipped["high"]
    assert candidate != scores["auroc"]
    assert scores["auroc_difference"]["value"] == pytest.approx(candidate["value"] - shipped["value"])


def test_shipped_full_weights_are_measured_against_the_ancestor_that_the_job_names(tmp_path: Path, base: Path) -> None:
    ancestor = tiny.save_model(tmp_path / "ancestor", seed=3)
    workdir = trained(tmp_path / "w", base, job={"ancestor": str(ancestor)}, epochs=1)

    score(workdir)

    scores = tiny.document(workdir / "scores.json")
    assert scores["shipped_auroc_vs_ancestor"]["value"] != 0.5
    assert scores["auroc_vs_ancestor"] != scores["auroc"]


def test_a_checkpoint_that_did_not_move_has_no_drift_and_no_merit(tmp_path: Path, base: Path) -> None:
    workdir = trained(tmp_path / "w", base, learning_rate=1e-12, epochs=1)

    score(workdir)

    scores = tiny.document(workdir / "scores.json")
    assert scores["kl"]["nats_per_completion"]["value"] == pytest.approx(0, abs=1e-6)
    assert scores["margin"]["value"] == pytest.approx(0, abs=1e-4)
    assert scores["length"]["ratio"] == 1


@pytest.mark.parametrize(
    ("holdout", "reason"), [(tiny.text_rows()[1:3], "one class only"), ([], "no rows")], ids=["one class", "none"]
)
def test_figures_that_the_holdout_does_not_give_are_null_with_a_reason(
    tmp_path: Path, base: Path, holdout: list[dict[str, Any]], reason: str
) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), holdout, **{**QUICK, "max_steps": 1})
    train(workdir)

    score(workdir)

    scores = tiny.document(workdir / "scores.json")
    assert scores["auroc"]["value"] is None
    assert reason in scores["auroc"]["reason"]
    assert scores["rows"] == len(holdout)


def test_scoring_before_training_is_refused(tmp_path: Path, base: Path) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows())

    with pytest.raises(TrainingRefusal, match=r"output holds no trained checkpoint: run the trainer first"):
        score(workdir)
