"""The samples of a scored WORKDIR: the same prompts for all models, whole or not at all, and their figures."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from app.checkpoints import few_shots as few_shots_files
from app.checkpoints import held_out_scores
from tests.trainer import tiny
from worker.evaluation.score import score
from worker.evaluation.suites import grade_suites
from worker.generation.sampler import Request, Sampler
from worker.generation.ways import PADDED
from worker.training.forward.logprobs import Reading
from worker.training.job import read_job
from worker.training.models import adapters
from worker.training.models import policy as models
from worker.training.train import train

EVALUATION = {"kl_prompts": 22, "kl_max_new_tokens": 8, "bootstrap": 100}
SUITE = {
    "name": "manners",
    "prompts": [{"label": "plain", "prompt": "Say {{ word }}"}],
    "tests": [
        {"vars": {"word": "please"}, "assert": [{"type": "icontains", "value": "a"}]},
        {"vars": {"word": "thanks"}, "assert": [{"type": "icontains", "value": "a"}]},
    ],
}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, base: Path, adapter: Path) -> Path:
    """The WORKDIR of an adapter that was trained against a shipped adapter, scored with a suite."""
    rows = tiny.text_rows()
    workdir = tiny.stage(
        tmp_path_factory.mktemp("sampled") / "w", base, rows, rows, adapter=adapter, method="lora", epochs=1,
        evaluation=EVALUATION,
    )  # fmt: skip
    entry = {"name": "manners", "version": 1, "sha256": "0" * 64, "document": SUITE}
    (workdir / "suites.json").write_text(json.dumps({"suites": [entry]}))
    train(workdir)
    score(workdir)
    return workdir


def scored_again(scored: Path, folder: Path, **evaluation: Any) -> Path:
    """Returns a copy that is scored with other settings of the evaluation."""
    shutil.copytree(scored, folder)
    recipe = tiny.document(folder / "recipe.json")
    changed = {**recipe, "evaluation": {**recipe["evaluation"], **evaluation}}
    (folder / "recipe.json").write_text(json.dumps(changed))
    score(folder)
    return folder


def samples_of(workdir: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(workdir / "samples.parquet").to_pylist())


def figures_of(workdir: Path) -> dict[str, Any]:
    return dict(tiny.document(workdir / "scores.json")["samples"])


@pytest.mark.xdist_group("sampled")
def test_every_prompt_has_a_reply_of_each_model_and_decoding(scored: Path) -> None:
    rows = samples_of(scored)

    staged = {row["prompt"] for row in tiny.text_rows()}
    held_out = [row for row in rows if row["source"] == "holdout"]
    assert {json.loads(row["prompt"]) for row in held_out} == staged
    assert len(held_out) == 22 * 2 * 3
    assert [(row["model"], row["decoding"]) for row in held_out[:6]] == [
        (model, decoding) for decoding in ("greedy", "sampled") for model in ("candidate", "shipped", "ancestor")
    ]
    of_suite = [row for row in rows if row["source"] == "suite"]
    assert [json.loads(row["prompt"]) for row in of_suite] == ["Say please"] * 3 + ["Say thanks"] * 3
    assert {row["group"] for row in of_suite} == {"manners/0/plain", "manners/1/plain"}
    assert {row["decoding"] for row in of_suite} == {"greedy"}


@pytest.mark.xdist_group("sampled")
def test_figures_are_those_of_the_sampled_replies_and_of_log_probs_read_by_each_model(
    scored: Path, base: Path, adapter: Path
) -> None:
    drawn = [row for row in samples_of(scored) if row["source"] == "holdout" and row["decoding"] == "sampled"]
    figures = figures_of(scored)

    for model in ("candidate", "shipped", "ancestor"):
        lengths = [row["tokens"] for row in drawn if row["model"] == model]
        assert figures[model]["length_mean"]["value"] == pytest.approx(np.mean(lengths))
        unfinished = [not row["finished"] for row in drawn if row["model"] == model]
        assert figures[model]["unfinished_share"]["value"] == pytest.approx(np.mean(unfinished))
    own = [row for row in drawn if row["model"] == "candidate"]
    kl = tiny.document(scored / "scores.json")["kl"]
    for unit in ("nats_per_token", "nats_per_completion"):
        assert figures["against_shipped"][f"kl_{unit}"] == {**kl[unit], "groups": 22}
    # the plain estimate of KL, Σ lp_candidate − lp_shipped, agrees with k3 up to its greater noise
    plain = np.mean([row["lp_candidate"] - row["lp_shipped"] for row in own])
    assert kl["nats_per_completion"]["value"] == pytest.approx(plain, abs=5 * kl["nats_per_completion"]["value"])
    assert {row["lp_candidate"] for row in drawn if row["model"] != "candidate"} == {None}

    # and the log-probs are those of the candidate's draws, drawn here again, under each model alone
    tokens, device = models.load_tokens(base), torch.device("cpu")
    prompts = [np.array(tokens.tokenizer(json.loads(row["prompt"]))["input_ids"], np.int32) for row in own]
    requests = [Request(prompt, 1.0, 8, stream=2 * number + 1) for number, prompt in enumerate(prompts)]
    candidate, shipped = (
        adapters.load_adapter(models.load_weights(base, torch.float32, device), folder)
        for folder in (scored / "output", adapter)
    )
    seed = tiny.document(scored / "recipe.json")["seed"]
    drawn_again = Sampler(candidate, PADDED, tokens.ends, rows_at_once=4, seed=seed).write(requests)
    decoded = [tokens.tokenizer.decode(reply.tokens, skip_special_tokens=True) for reply in drawn_again]
    assert [row["completion"] for row in own] == decoded
    ancestor = models.load_weights(base, torch.float32, device)
    for name, model in (("candidate", candidate), ("shipped", shipped), ("ancestor", ancestor)):
        pairs = [(prompt, reply.tokens) for prompt, reply in zip(prompts, drawn_again, strict=True)]
        with torch.no_grad():
            expected = [float(Reading.plain(model).read([pair])[0].lp_B) for pair in pairs]
        assert [row[f"lp_{name}"] for row in own] == pytest.approx(expected, abs=1e-3)


@pytest.mark.xdist_group("sampled")
def test_a_limit_leaves_the_same_whole_prompts_for_all_models_and_says_which_it_was(
    scored: Path, tmp_path: Path
) -> None:
    short = scored_again(scored, tmp_path / "tokens", sample_tokens=900)
    late = scored_again(scored, tmp_path / "minutes", sample_minutes=1e-9)

    whole, rows = samples_of(scored), samples_of(short)
    assert figures_of(short)["stopped_by"] == "tokens"
    assert 0 < figures_of(short)["prompts"]["holdout"] < 22
    assert rows == whole[: len(rows)]
    assert len(rows) == 6 * figures_of(short)["prompts"]["holdout"]
    assert figures_of(short)["candidate"]["length_mean"]["groups"] == figures_of(short)["prompts"]["holdout"]

    assert samples_of(late) == []
    assert (figures_of(late)["stopped_by"], figures_of(late)["prompts"]) == ("minutes", {"holdout": 0, "suites": 0})
    assert figures_of(late)["against_shipped"]["length_ratio"]["reason"] == "no prompts were sampled"
    assert tiny.document(late / "scores.json")["kl"]["nats_per_token"]["value"] is None
    for workdir in (short, late):
        last = tiny.lines(workdir / "progress.jsonl")[-1]
        assert last["done"] == last["total"]


@pytest.mark.xdist_group("sampled")
def test_replies_are_sampled_at_the_serving_temperature_and_the_kl_at_temperature_1(
    scored: Path, tmp_path: Path
) -> None:
    cool = scored_again(scored, tmp_path / "cool", temperature=1e-4)

    rows = [row for row in samples_of(cool) if row["source"] == "holdout"]
    replies = {
        decoding: [row["completion"] for row in rows if row["decoding"] == decoding]
        for decoding in ("greedy", "sampled")
    }
    same = np.mean([a == b for a, b in zip(replies["greedy"], replies["sampled"], strict=True)])
    assert same > 0.8
    assert {row["lp_candidate"] for row in rows} == {None}
    kl = tiny.document(cool / "scores.json")["kl"]
    assert kl["samples"] == 22
    assert kl["nats_per_token"]["value"] > 0


def test_equal_models_write_equal_replies_and_a_shipped_ancestor_is_sampled_once(tmp_path: Path, base: Path) -> None:
    rows = tiny.text_rows()
    workdir = tiny.stage(
        tmp_path / "w", base, rows, rows[:6], learning_rate=1e-12, epochs=1, evaluation={**EVALUATION, "kl_prompts": 6}
    )
    train(workdir)
    score(workdir)

    figures = figures_of(workdir)
    assert figures["against_shipped"] == figures["against_ancestor"]
    assert figures["against_shipped"]["unchanged_share"]["value"] == 1
    assert figures["against_shipped"]["length_ratio"]["value"] == 1
    assert figures["against_shipped"]["kl_nats_per_completion"]["value"] == pytest.approx(0, abs=1e-6)
    assert figures["tokens"] == sum(row["tokens"] for row in samples_of(workdir) if row["model"] != "ancestor")


@pytest.mark.xdist_group("sampled")
def test_the_shipped_checkpoint_with_examples_is_measured_against_itself_and_changes_no_other_figure(
    scored: Path, tmp_path: Path, base: Path, adapter: Path
) -> None:
    workdir = scored_again(scored, tmp_path / "w", few_shots=1)

    again, plain = (tiny.document(folder / "scores.json") for folder in (workdir, scored))
    few_shots = again.pop("few_shots")
    assert samples_of(workdir) == samples_of(scored)
    assert {**again, "samples": 0, "seconds": 0} == {**plain, "samples": 0, "seconds": 0}
    assert read_job(workdir).identity == read_job(scored).identity
    assert (few_shots["reason"], few_shots["rows_left_out"], few_shots["prompts_left_out"]) == (None, 0, 0)
    assert few_shots["kl"]["nats_per_token"]["low"] > 0
    assert few_shots["samples"]["against_shipped"]["length_ratio"]["groups"] == 22

    # the examples are desirable training rows; the log-ratios are those of reading each row after them
    rows = pq.read_table(workdir / "snapshot" / "train-0.parquet").to_pylist()
    assert [each["for"] for each in few_shots["examples"]] == ["text", "chat"]  # of the holdout, and of the suite
    example = rows[few_shots["examples"][0]["row"]]
    assert example["label"]
    before = f"{example['prompt']}{example['completion']}\n\n"
    shipped = adapters.load_adapter(models.load_weights(base, torch.float32, torch.device("cpu")), adapter)
    tokens, reading = models.load_tokens(base), Reading.plain(shipped)
    held_out = pq.read_table(workdir / "snapshot" / "holdout-0.parquet").to_pylist()
    scores = held_out_scores.read(workdir / few_shots_files.SCORES)
    assert sorted(number for _, number in scores.places) == list(range(len(held_out)))
    for (_, number), ratio in list(zip(scores.places, scores.log_ratio_N, strict=True))[:5]:
        row = held_out[number]
        encoded = tokens.encode_text([before + row["prompt"], row["prompt"]], [row["completion"]] * 2)
        with torch.no_grad():
            with_examples, without = (float(reading.read([(each.prompt, each.completion)])[0].lp_B) for each in encoded)
        assert ratio == pytest.approx(with_examples - without, abs=1e-3)
    replies = few_shots_files.read(workdir / few_shots_files.REPLIES)
    ratio = sum(reply.tokens for reply in replies) / sum(
        row["tokens"] for row in samples_of(workdir) if row["model"] == "shipped" and row["decoding"] == "sampled"
    )
    assert few_shots["samples"]["against_shipped"]["length_ratio"]["value"] == pytest.approx(ratio)
    last = tiny.lines(workdir / "progress.jsonl")[-1]
    assert last["done"] == last["total"]

    grade_suites(workdir, lambda: None)
    manners = tiny.document(workdir / "suite_scores.json")["manners"]
    assert manners["few_shots"]["pass_share"]["value"] is not None


@pytest.mark.xdist_group("sampled")
def test_examples_that_do_not_fit_into_the_context_give_a_reason_and_no_figures(scored: Path, tmp_path: Path) -> None:
    few_shots = tiny.document(scored_again(scored, tmp_path / "w", few_shots=16) / "scores.json")["few_shots"]

    assert "desirable training rows can be examples for a text, of at most 4 tokens each" in few_shots["reason"]
    assert few_shots["auroc"] == {"value": None, "low": None, "high": None, "reason": few_shots["reason"]}
