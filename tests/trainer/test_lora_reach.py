"""The modules of a model that adapters reach: remedies name existing modules, unreached weights are reported."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import PeftModel
from thumbwheel.wire.recipe import Recipe

from tests.trainer import tiny
from worker.training.machine.process import TrainingRefusal
from worker.training.models import lora
from worker.training.train import train

SIZES = {
    "vocab_size": 260, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 4, "max_position_embeddings": 128, "pad_token_id": None,
    "bos_token_id": None, "eos_token_id": 256,
}  # fmt: skip
#: Families of state spaces, with linear modules that take an adapter.
STATE_SPACES = {
    transformers.MambaConfig: ["dt_proj", "in_proj", "x_proj"],
    transformers.FalconH1Config: [
        "down_proj", "gate_proj", "in_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj",
    ],
    transformers.NemotronHConfig: ["down_proj", "in_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"],
}  # fmt: skip


def recipe(**settings: Any) -> Recipe:
    return Recipe.model_validate({**tiny.RECIPE, "method": "lora", "lora": settings})


def blueprint(kind: type, **changes: Any) -> Any:
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(kind(**changes))


def save(folder: Path, kind: type, **changes: Any) -> Path:
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(kind(**SIZES, **changes)).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def warned(workdir: Path) -> dict[str, str]:
    return {line["code"]: line["message"] for line in tiny.lines(workdir / "warnings.jsonl")}


@pytest.mark.parametrize("kind", STATE_SPACES, ids=lambda kind: kind.model_type)
def test_where_all_linear_modules_cannot_be_the_remedy_names_ones_that_can(kind: type) -> None:
    small = {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 64}
    model = blueprint(kind) if kind is transformers.NemotronHConfig else blueprint(kind, **small)
    with pytest.raises(TrainingRefusal) as refused:
        lora.require_targets(model, recipe())

    assert re.search(r"'out_proj' is incompatible", refused.value.message)
    [advised] = re.findall(r"set it to (\[.*\]), which accept one$", refused.value.message)
    assert set(STATE_SPACES[kind]) <= set(json.loads(advised))
    assert "out_proj" not in json.loads(advised)
    # when the advice is followed
    targets = lora.require_targets(model, recipe(target_modules=json.loads(advised)))
    assert {name.rpartition(".")[2] for name in targets} == set(json.loads(advised))


def test_a_target_of_another_family_is_refused_with_those_of_this_one() -> None:
    model = blueprint(transformers.MambaConfig, hidden_size=64, num_hidden_layers=1, vocab_size=64)

    with pytest.raises(TrainingRefusal, match=r"no module q_proj: use some of dt_proj, in_proj, x_proj$"):
        lora.require_targets(model, recipe(target_modules=["q_proj"]))


LLAMA4: dict[str, Any] = {"intermediate_size_mlp": 32, "num_local_experts": 2, "interleave_moe_layer_step": 1}


def test_llama_4_trains_under_lora_without_its_routers(tmp_path: Path) -> None:
    folder = save(tmp_path / "base", transformers.Llama4TextConfig, **LLAMA4)
    workdir = tiny.stage(tmp_path / "w", folder, tiny.text_rows(), method="lora", max_steps=2)

    train(workdir)

    adapted = {name.split(".lora_")[0].rpartition(".")[2] for name in _tensors(workdir / "output")}
    assert {"q_proj", "k_proj", "v_proj", "o_proj"} <= adapted
    assert "router" not in adapted
    assert tiny.lines(workdir / "metrics.jsonl")[-1]["gradient_norm"] > 0
    # and the adapter is continued, and loads with peft alone
    again = tiny.stage(
        tmp_path / "again", folder, tiny.text_rows(), adapter=workdir / "output", method="lora", max_steps=1
    )
    train(again)
    base = transformers.AutoModelForCausalLM.from_pretrained(folder)
    with lora.peft_quiet():
        served = PeftModel.from_pretrained(base, str(again / "output"))
    assert served(torch.tensor([[1, 2, 3]])).logits.isfinite().all()


def test_a_router_as_the_target_is_refused_in_a_sentence() -> None:
    model = blueprint(transformers.Llama4TextConfig, **SIZES, **LLAMA4)

    with pytest.raises(
        TrainingRefusal, match=r"target_modules: router of the base model computes no linear product.*: use "
    ):
        lora.require_targets(model, recipe(target_modules=["router"]))


def test_experts_that_are_no_linear_modules_are_said_to_be_out_of_reach(tmp_path: Path) -> None:
    folder = save(tmp_path / "base", transformers.GptOssConfig, num_local_experts=4, num_experts_per_tok=2)
    workdir = tiny.stage(tmp_path / "w", folder, tiny.text_rows(), method="lora", max_steps=1)

    train(workdir)

    assert re.match(
        r"lora\.target_modules is all-linear, but \d\d % of the base model's weights are not in linear modules and "
        r"stay untrained: experts\.gate_up_proj, experts\.down_proj, .*: set method to full",
        warned(workdir)["lora_reach"],
    )


def test_nothing_is_said_of_a_model_that_is_reached_or_of_targets_that_were_chosen(tmp_path: Path, base: Path) -> None:
    folder = save(tmp_path / "base", transformers.GptOssConfig, num_local_experts=4, num_experts_per_tok=2)
    reached = tiny.stage(tmp_path / "reached", base, tiny.text_rows(), method="lora", max_steps=1)
    chosen = tiny.stage(
        tmp_path / "chosen", folder, tiny.text_rows(), method="lora", max_steps=1, lora={"target_modules": ["q_proj"]}
    )
    for workdir in (reached, chosen):
        train(workdir)

        assert "lora_reach" not in warned(workdir)


def _tensors(folder: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        return list(file.keys())
