"""Impossible settings are refused before weights are loaded: the files of the base model here are no weights."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import peft
import pytest
from thumbwheel.wire.recipe import Recipe

from tests.trainer import tiny
from worker.training.files.fingerprint import weights_fingerprint
from worker.training.job import read_job
from worker.training.machine.process import TrainingRefusal
from worker.training.models import lora, policy
from worker.training.train import train

LABELS = [{"name": "polite", "value": True}]


@pytest.fixture(scope="module")
def hollow(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """The folder of a base model whose weights cannot be loaded."""
    folder = tmp_path_factory.mktemp("hollow") / "base"
    shutil.copytree(base, folder)
    (folder / "model.safetensors").write_bytes(b"no weights")
    return folder


def refusal(workdir: Path) -> TrainingRefusal:
    with pytest.raises(TrainingRefusal) as refused:
        train(workdir)
    assert "\n" not in refused.value.message
    assert not (workdir / "output").exists()
    return refused.value


def long_prompts(count: int = 22) -> list[dict[str, Any]]:
    """Returns rows with prompts of 20 and 100 tokens, one of 120."""
    return [
        {**row, "prompt": "x" * (20 if number % 3 == 0 else 120 if number == 1 else 100)}
        for number, row in enumerate(tiny.text_rows(count))
    ]


def labelled(**labels: bool) -> list[dict[str, Any]]:
    return [{**r, "labels": [{"name": k, "value": v} for k, v in labels.items()]} for r in tiny.text_rows()]


def all_undesirable() -> list[dict[str, Any]]:
    return [{**row, "label": False} for row in tiny.text_rows()]


ROWS: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str, str]] = {
    "unpaired rows": (tiny.text_rows(), {"objective": "dpo"}, "no_pairs", "objective: dpo learns from pairs.*to kto"),
    "pairs all dropped": (
        [{**row, "completion": ""} if row["label"] else row for row in tiny.paired_rows()],
        {"objective": "orpo"},
        "no_pairs",
        "objective: orpo learns from pairs.* no pair of the snapshot has two usable rows, 11 rows were dropped",
    ),
    "one class": (all_undesirable(), {}, "one_class", "all undesirable"),
    "nothing desirable": (
        all_undesirable(),
        {"objective": "sft"},
        "one_class",
        "none of the 22 usable train rows is desirable, sft learns from those alone",
    ),
    "unknown label": (
        labelled(polite=True),
        {"objective": "mo_kto", "labels": [{"name": "true"}]},
        "label_missing",
        "labels: no train row has the label true, they have polite: name labels",
    ),
    "no labels": (
        tiny.text_rows(),
        {"objective": "mo_kto", "labels": [{"name": "true"}]},
        "label_missing",
        "labels: no train row has the label true, they have none",
    ),
    "label of one class": (
        labelled(polite=True),
        {"objective": "mo_kto", "labels": [{"name": "polite"}]},
        "one_class",
        "all 22 train rows with the label polite are desirable by it.*collect undesirable feedback or remove the label",
    ),
    "prompts over max_length": (
        long_prompts(),
        {"max_length": 64},
        "context",
        "max_length is 64, 14 of 22 prompts alone do not fit: raise it, 1[0-9]{2} tokens would hold 95 % of the rows",
    ),
    "prompts over the context": (
        [{**row, "prompt": row["prompt"] * 20} for row in tiny.text_rows()],
        {"max_length": 1000},
        "context",
        r"base_model: \d+ of 22 prompts alone do not fit into its context of 128 tokens: take one with a longer",
    ),
    "micro-batch over the rows": (
        tiny.text_rows(6),
        {"batch_size": 12, "micro_batch_size": 12},
        "micro_batch_size",
        "micro_batch_size: it is 12, not between 2 and the 6 rows of an epoch: set it to 6, or collect more feedback",
    ),
    "micro-batch over the pairs": (
        tiny.paired_rows(3),
        {"objective": "ipo", "micro_batch_size": 8},
        "micro_batch_size",
        "it is 8, not between 2 and the 6 rows of an epoch: set it to 4",
    ),
    "batch without a divisor": (
        tiny.text_rows(6),
        {"batch_size": 23, "micro_batch_size": "auto"},
        "micro_batch_size",
        "no divisor of batch_size 23 is between 2 and the 6 rows of an epoch: set batch_size to a multiple of 4",
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_that_cannot_be_trained_on_are_refused(tmp_path: Path, hollow: Path, case: str) -> None:
    rows, recipe, code, expected = ROWS[case]

    refused = refusal(tiny.stage(tmp_path / "w", hollow, rows, **recipe))

    assert refused.code == code
    assert re.search(expected, refused.message), refused.message


def test_tokens_beyond_the_vocabulary_are_refused(tmp_path: Path) -> None:
    small = tiny.save_model(tmp_path / "small", vocab_size=200, eos_token_id=1)
    (small / "model.safetensors").write_bytes(b"no weights")

    refused = refusal(tiny.stage(tmp_path / "w", small, tiny.text_rows()))

    assert refused.message.startswith("base_model: all 22 train rows are dropped")
    assert "the tokenizer makes a token that the model does not know (the tokenizer makes token 2" in refused.message


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (
            ["q_proj", "nonesuch"],
            "no module nonesuch: use all-linear, or some of down_proj, gate_proj, k_proj, o_proj",
        ),
        (["_proj"], "no module _proj"),
        (["input_layernorm"], "input_layernorm|LlamaRMSNorm"),
    ],
)
def test_a_target_that_takes_no_adapter_is_refused(
    tmp_path: Path, hollow: Path, targets: list[str], expected: str
) -> None:
    refused = refusal(
        tiny.stage(tmp_path / "w", hollow, tiny.text_rows(), method="lora", lora={"target_modules": targets})
    )

    assert refused.code == "lora_targets"
    assert re.search(expected, refused.message), refused.message


def shipped(folder: Path, **changes: Any) -> Path:
    """Writes the configuration of an adapter, with weights that cannot be loaded."""
    folder.mkdir()
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", **changes}
    peft.LoraConfig(**settings).save_pretrained(folder)
    (folder / "adapter_model.safetensors").write_bytes(b"no weights")
    return folder


SAME = {"rank": 4, "alpha": 8, "target_modules": ["q_proj", "v_proj"]}
ADAPTERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "rank": ({}, {**SAME, "rank": 8}, r"lora\.rank is 8, the shipped adapter has 4: set lora\.rank to 4, or method to"),
    "alpha": ({}, {**SAME, "alpha": 16}, r"lora\.alpha is 16, the shipped adapter has 8"),
    "rslora": (
        {"use_rslora": True},
        SAME,
        r"lora\.rslora is false, the shipped adapter has true: set lora\.rslora to true",
    ),
    "dora": ({}, {**SAME, "dora": True}, r"lora\.dora is true, the shipped adapter has false"),
    "targets": ({}, {"rank": 4, "alpha": 8}, r"target_modules differs .* \['q_proj', 'v_proj'\].*or method to full"),
    "modules of another model": ({"target_modules": ["c_attn"]}, SAME, "does not fit this base model"),
}


@pytest.mark.parametrize("case", ADAPTERS)
def test_an_adapter_that_the_recipe_does_not_describe_is_refused(tmp_path: Path, hollow: Path, case: str) -> None:
    there, requested, expected = ADAPTERS[case]
    adapter = shipped(tmp_path / "adapter", **there)

    refused = refusal(
        tiny.stage(tmp_path / "w", hollow, tiny.text_rows(), adapter=adapter, method="lora", lora=requested)
    )

    assert re.search(expected, refused.message), refused.message


@pytest.mark.parametrize("method", ["full", "lora"])
def test_an_adapter_of_a_kind_that_cannot_be_merged_is_refused(tmp_path: Path, hollow: Path, method: str) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    peft.PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM").save_pretrained(folder)
    (folder / "adapter_model.safetensors").write_bytes(b"no weights")

    refused = refusal(tiny.stage(tmp_path / "w", hollow, tiny.text_rows(), adapter=folder, method=method))

    assert refused.code == "adapter_conflict"
    assert "PROMPT_TUNING" in refused.message
    assert "ship a LoRA adapter or full weights first" in refused.message


@pytest.mark.parametrize("method", ["full", "lora"])
def test_an_adapter_that_says_it_belongs_to_another_base_is_refused(tmp_path: Path, hollow: Path, method: str) -> None:
    adapter = shipped(tmp_path / "adapter")
    (adapter / "origin.json").write_text(json.dumps({"base_fingerprint": "abc" * 20}))
    workdir = tiny.stage(tmp_path / "w", hollow, tiny.text_rows(), adapter=adapter, method=method)

    refused = refusal(workdir)

    assert refused.code == "adapter_of_another_base"
    assert (
        f"trained on the base model abcabcabcabc…, base_model is {weights_fingerprint(hollow)[:12]}" in refused.message
    )
    (adapter / "origin.json").write_text("{")
    assert refusal(workdir).code == "reference_missing"


def test_what_a_run_made_says_what_it_was_made_of_and_is_taken_as_the_next_reference(
    tmp_path: Path, base: Path
) -> None:
    first = tiny.stage(tmp_path / "1", base, tiny.text_rows(), method="lora", max_steps=1)
    train(first)
    origin = tiny.document(first / "output" / "origin.json")
    assert origin == {
        "base_fingerprint": weights_fingerprint(base),
        "reference_fingerprint": weights_fingerprint(base),
        "objective": "kto",
        "run_id": "r1",
    }

    second = tiny.stage(
        tmp_path / "2", base, tiny.paired_rows(), adapter=first / "output", method="lora", max_steps=1, objective="dpo"
    )
    train(second)

    origin = tiny.document(second / "output" / "origin.json")
    assert origin["base_fingerprint"] == weights_fingerprint(base)
    assert (origin["reference_fingerprint"], origin["objective"]) == (weights_fingerprint(first / "output"), "dpo")


@pytest.mark.parametrize(
    ("kind", "precision"),
    [({"rslora": True}, "float32"), ({"dora": True}, "float32"), ({"rslora": True, "dora": True}, "bfloat16")],
)
def test_rslora_and_dora_are_trained_as_peft_has_them_and_continued(
    tmp_path: Path, base: Path, kind: dict[str, bool], precision: str
) -> None:
    shape = {"rank": 4, "alpha": 8, "target_modules": ["q_proj"], **kind}
    settings = {"method": "lora", "lora": shape, "precision": precision, "max_steps": 2, "drift": {"checks": 0}}
    first = tiny.stage(tmp_path / "1", base, tiny.text_rows(), **settings)
    train(first)
    second = tiny.stage(tmp_path / "2", base, tiny.text_rows(), adapter=first / "output", **settings)

    train(second)

    steps = tiny.lines(second / "metrics.jsonl")
    assert steps[0]["reward_desirable"] == steps[0]["z0_raw"] == 0
    assert steps[-1]["gradient_norm"] > 0
    saved = tiny.document(second / "output" / "adapter_config.json")
    assert (saved["use_rslora"], saved["use_dora"]) == (kind.get("rslora", False), kind.get("dora", False))
    arithmetic = policy.Arithmetic.of(read_job(second).recipe)
    trained = policy.trained_weights(policy.load_policy(read_job(second), arithmetic))
    assert {weight.dtype for weight in trained.values()} == {policy.torch.float32}
    assert any("magnitude" in name for name in trained) == kind.get("dora", False)


def test_a_tokenizer_without_a_pad_token_trains(tmp_path: Path, base: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    settings = tiny.document(folder / "tokenizer_config.json")
    settings.pop("pad_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert policy.load_tokens(folder).tokenizer.pad_token is None
    workdir = tiny.stage(tmp_path / "w", folder, tiny.text_rows(), max_steps=2, drift={"checks": 1, "prompts": 2})

    train(workdir)

    assert tiny.document(workdir / "training.json")["final"]["kl_nats_per_token"] is not None


def test_a_run_says_what_its_bits_depend_on(tmp_path: Path, base: Path) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), max_steps=1)

    train(workdir)

    needed = tiny.document(workdir / "training.json")["determinism"]
    assert needed["promise"].startswith("the same bits on the same processor")
    assert (needed["device"], needed["threads"], needed["ranks"], needed["precision"]) == ("cpu", 1, 1, "float32")
    assert needed["deterministic_algorithms"] is True
    assert {"torch", "transformers", "peft", "vector_instructions"} <= needed.keys()


def test_the_targets_of_a_recipe_are_found_without_weights(hollow: Path) -> None:
    def found(**settings: Any) -> set[str]:
        recipe = Recipe.model_validate({**tiny.RECIPE, "method": "lora", "lora": settings})
        return {name.rpartition(".")[2] for name in lora.require_targets(policy.blueprint(hollow), recipe)}

    assert found(target_modules=["v_proj", "self_attn.k_proj"]) == {"v_proj", "k_proj"}
    assert found() == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
