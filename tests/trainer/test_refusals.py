"""Errors that an operator can mend are refused at once, in one sentence that names the field and the remedy."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from thumbwheel.wire.recipe import ObjectiveName

from tests.trainer import tiny
from worker.training.forward.logprobs import Reading
from worker.training.machine.process import TrainingRefusal
from worker.training.models import policy
from worker.training.objectives import OBJECTIVES
from worker.training.train import train


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**tiny.document(path), **values}))


def reshard(workdir: Path, rows: list[dict[str, Any]]) -> None:
    shard = {**tiny.write_shard(workdir / "snapshot" / "train-0.parquet", rows), "split": "train"}
    change(workdir / "snapshot" / "manifest.json", shards=[shard])


def break_shard(workdir: Path) -> None:
    path = workdir / "snapshot" / "train-0.parquet"
    path.write_bytes(path.read_bytes()[:-20])


def break_shard_honestly(workdir: Path) -> None:
    """Replaces a shard by content that is not parquet, with the right hash in the manifest."""
    import hashlib

    (workdir / "snapshot" / "train-0.parquet").write_bytes(b"not parquet")
    manifest = tiny.document(workdir / "snapshot" / "manifest.json")
    manifest["shards"][0]["sha256"] = hashlib.sha256(b"not parquet").hexdigest()
    change(workdir / "snapshot" / "manifest.json", **manifest)


def one_class(workdir: Path) -> None:
    reshard(workdir, [{**row, "label": False} for row in tiny.text_rows()])


def without_column(workdir: Path) -> None:
    import hashlib

    import pyarrow.parquet as pq

    path = workdir / "snapshot" / "train-0.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["weight"]), path)
    manifest = tiny.document(workdir / "snapshot" / "manifest.json")
    manifest["shards"][0]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    change(workdir / "snapshot" / "manifest.json", **manifest)


def model_folder(workdir: Path, **changes: Any) -> Path:
    """A copy of the base model that a test may damage."""
    folder = tiny.save_model(workdir / "model", **changes)
    change(workdir / "job.json", base_model=str(folder), base_fingerprint=None)
    return folder


def remove_tokenizer(workdir: Path) -> None:
    folder = model_folder(workdir)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def remove_eos(workdir: Path) -> None:
    folder = model_folder(workdir, eos_token_id=None)
    change(folder / "tokenizer_config.json", eos_token=None)
    (folder / "generation_config.json").unlink()


def truncate_weights(workdir: Path) -> None:
    weights = model_folder(workdir) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def ask_for_another_layer(workdir: Path) -> None:
    change(model_folder(workdir) / "config.json", num_hidden_layers=3)


def unknown_architecture(workdir: Path) -> None:
    change(model_folder(workdir) / "config.json", model_type="nonesuch", architectures=["Nonesuch"])


CASES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no job.json": (lambda w: (w / "job.json").unlink(), r"job\.json is missing"),
    "job.json is no JSON": (lambda w: (w / "job.json").write_text("{"), r"job\.json is not valid JSON"),
    "a field of the job lacks": (lambda w: (w / "job.json").write_text("{}"), r"job\.json: run_id: Field required"),
    "micro-batch of 1": (
        lambda w: change(w / "recipe.json", micro_batch_size=1),
        r"micro_batch_size: .*\(it is 1\)",
    ),
    "beta of 0": (lambda w: change(w / "recipe.json", beta=0), r"recipe\.json: beta: .*greater than 0 \(it is 0\)"),
    "lambda below 0": (lambda w: change(w / "recipe.json", lambda_desirable=-1), "lambda_desirable"),
    "unknown objective": (lambda w: change(w / "recipe.json", objective="nonesuch"), r"objective: .*'kto'.*nonesuch"),
    "unresolved recipe": (lambda w: change(w / "recipe.json", learning_rate="auto"), "auto"),
    "batches that do not divide": (lambda w: change(w / "recipe.json", batch_size=9), "micro_batch_size to a divisor"),
    "model folder missing": (lambda w: change(w / "job.json", base_model="/nonesuch"), "base_model: /nonesuch"),
    "another base": (lambda w: change(w / "job.json", base_fingerprint="0" * 64), "base_fingerprint: .*00000000"),
    "no tokenizer": (remove_tokenizer, r"base_model: the tokenizer .* does not load"),
    "no end token": (remove_eos, "eos_token"),
    "truncated weights": (truncate_weights, "base_model: .* does not load"),
    "weights lack a layer": (ask_for_another_layer, r"base_model: .* lacks \d+ weights .*layers\.2"),
    "unknown architecture": (unknown_architecture, "base_model: .* does not load"),
    "vocabulary too small": (lambda w: model_folder(w, vocab_size=200, eos_token_id=1), "base_model: .*token 2"),
    "chat rows without template": (
        lambda w: (model_folder(w), reshard(w, tiny.chat_rows())),
        "base_model: .*chat template",
    ),
    "shard missing": (lambda w: (w / "snapshot" / "train-0.parquet").unlink(), r"train-0\.parquet is in the manifest"),
    "shard damaged": (break_shard, r"train-0\.parquet has another sha256"),
    "shard no parquet": (break_shard_honestly, "not a readable parquet"),
    "shard lacks a column": (without_column, "lacks the column weight"),
    "one class": (one_class, r"22 usable train rows, all undesirable.*desirable feedback \(edits give it\)"),
    "no rows": (lambda w: change(w / "snapshot" / "manifest.json", shards=[]), "0 usable train rows"),
    "unknown LoRA target": (
        lambda w: change(w / "recipe.json", method="lora", lora={"target_modules": ["nonesuch"]}),
        r"lora\.target_modules",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_an_operator_can_mend_is_refused_in_one_sentence(tmp_path: Path, base: Path, case: str) -> None:
    spoil, expected = CASES[case]
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows())
    spoil(workdir)

    with pytest.raises(TrainingRefusal, match=expected) as refusal:
        train(workdir)

    assert "\n" not in refusal.value.message
    assert not (workdir / "output").exists()


@pytest.mark.parametrize(
    ("lora", "expected"),
    [
        (
            {"rank": 8, "alpha": 8},
            r"lora\.rank is 8, .* adapter has 4: set lora\.rank to 4, or method to full",
        ),
        ({"rank": 4, "alpha": 16}, r"lora\.alpha is 16, the shipped adapter has 8"),
        (
            {"rank": 4, "alpha": 8, "target_modules": ["q_proj"]},
            r"lora\.target_modules .*q_proj.*method to full",
        ),
    ],
)
def test_a_recipe_in_conflict_with_the_shipped_adapter_is_refused(
    tmp_path: Path, base: Path, adapter: Path, lora: dict[str, Any], expected: str
) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), adapter=adapter, method="lora", lora=lora)

    with pytest.raises(TrainingRefusal, match=expected):
        train(workdir)


def test_an_adapter_of_another_base_is_refused(tmp_path: Path, adapter: Path) -> None:
    wider = tiny.save_model(tmp_path / "wider", num_hidden_layers=1, hidden_size=32)
    workdir = tiny.stage(tmp_path / "w", wider, tiny.text_rows(), adapter=adapter, method="lora")

    with pytest.raises(TrainingRefusal, match=r"reference: the adapter in .* does not load on this base model"):
        train(workdir)


def test_a_tampered_adapter_is_refused(tmp_path: Path, base: Path, adapter: Path) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), adapter=adapter, method="lora")
    job = tiny.document(workdir / "job.json")
    change(workdir / "job.json", reference={**job["reference"], "fingerprint": "1" * 64})

    with pytest.raises(TrainingRefusal, match=r"reference: .*11111111.*stage the shipped checkpoint again"):
        train(workdir)


def test_a_state_of_another_recipe_is_refused(tmp_path: Path, finished_run: Callable[..., Path]) -> None:
    workdir = Path(shutil.copytree(finished_run(), tmp_path / "w"))
    change(workdir / "recipe.json", beta=0.2)

    with pytest.raises(TrainingRefusal, match=r"state: step-000004 was made with another recipe"):
        train(workdir)


def test_the_command_answers_a_refusal_with_a_sentence_a_file_and_2(tmp_path: Path, base: Path) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows())
    change(workdir / "recipe.json", micro_batch_size=1)

    trainer = [sys.executable, "-m", "worker.training.train"]
    refused = subprocess.run([*trainer, str(workdir)], capture_output=True, text=True)
    nowhere = subprocess.run([*trainer, "/nonesuch"], capture_output=True, text=True)

    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert tiny.document(workdir / "failure.json") == {"code": "job_malformed", "message": refused.stderr.strip()}
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (2, 1)
    assert "/nonesuch" in nowhere.stderr


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model that gives NaN for every text with an A in it."""
    return tiny.save_overflowing_model(tmp_path_factory.mktemp("broken") / "base")


@pytest.mark.parametrize("objective", get_args(ObjectiveName))
def test_a_batch_that_is_not_finite_is_kept_and_shows_the_fault_again(
    tmp_path: Path, broken: Path, objective: ObjectiveName
) -> None:
    # given rows of which two cannot be computed
    rows = [{**row, "labels": [{"name": "true", "value": row["label"]}]} for row in tiny.paired_rows()]
    rows[8]["prompt"] = rows[9]["prompt"] = "A"
    labels = {"labels": [{"name": "true"}]} if objective == "mo_kto" else {}
    workdir = tiny.stage(tmp_path / "w", broken, rows, objective=objective, epochs=1, drift={"checks": 0}, **labels)

    with pytest.raises(
        TrainingRefusal, match=r"step \d+: a log-prob or loss is NaN .*completion_id .*not-finite-step-"
    ) as refusal:
        train(workdir)

    # then the stored batch, read with the weights of the model alone, is not finite in the same rows
    assert refusal.value.code == "not_finite"
    [path] = workdir.glob("not-finite-step-*.json")
    stored = tiny.document(path)
    model = policy.load_weights(broken, torch.float32, torch.device("cpu"))
    for name, batch in (("policy", stored["rows"]), ("policy_mismatched", stored.get("mismatched", []))):
        pairs = [(np.array(row["prompt_ids"]), np.array(row["completion_ids"])) for row in batch]
        with torch.no_grad():
            again = [float(Reading.plain(model).read([pair])[0].lp_B) for pair in pairs]
        was = [float(value) for value in stored[name]]
        if pairs:
            assert [math.isnan(value) for value in again] == [math.isnan(value) for value in was]
    odd = {row["completion_id"] for row, value in zip(stored["rows"], stored["policy"], strict=True) if value == "nan"}
    assert odd
    assert odd <= {"c8", "c9"}
    assert all(name in refusal.value.message for name in odd)
    assert ("mismatched" in stored) == OBJECTIVES[objective].mismatched
