"""Nothing of the shipped checkpoint is lost: the saved files, loaded by plain peft and transformers, are the policy."""

import json
import shutil
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from tests.trainer import tiny
from worker.training.job import read_job
from worker.training.machine.process import TrainingRefusal
from worker.training.models import lora
from worker.training.models import policy as models

CPU = torch.device("cpu")
ARITHMETIC = models.Arithmetic(CPU, torch.float32)
IDS = torch.arange(1, 25).reshape(2, 12)
#: Fields of the adapter and of the recipe that continues it.
ADAPTERS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "plain": ("llama", {}, {}),
    "modules_to_save": ("llama", {"modules_to_save": ["lm_head"]}, {}),
    "modules_to_save of tied embeddings": ("qwen2", {"modules_to_save": ["embed_tokens"]}, {}),
    "trainable tokens": ("llama", {"trainable_token_indices": [3, 5]}, {}),
    "trainable tokens of tied embeddings": ("qwen2", {"trainable_token_indices": [3, 5]}, {}),
    "DoRA": ("llama", {"use_dora": True}, {"dora": True}),
    "rsLoRA": ("llama", {"use_rslora": True}, {"rslora": True}),
    "rank and alpha patterns": ("llama", {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 16}}, {}),
    "biases": ("gpt2", {"bias": "all", "fan_in_fan_out": True}, {}),
    "layers_to_transform": (
        "llama",
        {"target_modules": ["q_proj"], "layers_to_transform": [1]},
        {"target_modules": ["model.layers.1.self_attn.q_proj"]},
    ),
    "exclude_modules": (
        "llama",
        {"target_modules": ["q_proj", "v_proj"], "exclude_modules": ["v_proj"]},
        {"target_modules": ["q_proj"]},
    ),
}


def ship(folder: Path, base: Path, *, embeddings: bool = False, **fields: Any) -> Path:
    """Saves an adapter of which every tensor differs from the base model's."""
    torch.manual_seed(3)
    kind = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **fields}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        policy = get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(base), LoraConfig(**kind))
        with torch.no_grad():
            for weight in policy.parameters():
                if weight.requires_grad:
                    weight.add_(0.1 * torch.randn_like(weight))
            if embeddings:
                for layer in (policy.get_input_embeddings(), policy.get_output_embeddings()):
                    layer.weight.add_(0.1 * torch.randn_like(layer.weight))
        policy.save_pretrained(folder, save_embedding_layers=embeddings)
    return folder


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        output: torch.Tensor = model.eval()(IDS).logits
    return output


def plainly(base: Path, folder: Path) -> Any:
    """Loads the checkpoint in `folder` with plain peft and transformers."""
    if not (folder / "adapter_config.json").exists():
        return transformers.AutoModelForCausalLM.from_pretrained(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained(base), str(folder))


def check(tmp_path: Path, base: Path, adapter: Path, **recipe: Any) -> dict[str, torch.Tensor]:
    """Takes a step from `adapter` and saves; returns the saved tensors."""
    shipped = logits(plainly(base, adapter))
    job = read_job(tiny.stage(tmp_path / "w", base, tiny.text_rows(), adapter=adapter, **recipe))
    policy = models.load_policy(job, ARITHMETIC)
    torch.testing.assert_close(logits(policy), shipped)
    weights = models.trained_weights(policy)
    assert recipe["method"] == "full" or all("lora_" in name for name in weights)
    optimizer = torch.optim.SGD(weights.values(), lr=0.01)
    policy(IDS).logits.square().mean().backward()
    optimizer.step()
    expected = logits(policy)
    assert not torch.equal(expected, shipped)
    out = tmp_path / "out"
    out.mkdir()
    models.save_policy(policy, job, models.load_tokens(base), out)
    torch.testing.assert_close(logits(plainly(base, out)), expected)
    return load_file(next(out.glob("*.safetensors")))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """Returns the base model and the adapter of a case, which are saved once."""

    @cache
    def saved(case: str) -> tuple[Path, Path]:
        family, fields, _ = ADAPTERS[case]
        folder = tmp_path_factory.mktemp("shipped")
        base = tiny.save_model(folder / "base", family)
        return base, ship(folder / "adapter", base, **fields)

    return saved


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("case", ADAPTERS)
def test_what_is_saved_is_the_policy_and_began_as_the_reference(
    tmp_path: Path, shipped: Callable[[str], tuple[Path, Path]], case: str, method: str
) -> None:
    _, _, recipe = ADAPTERS[case]
    base, adapter = shipped(case)

    saved = check(tmp_path, base, adapter, method=method, lora={"rank": 4, "alpha": 8, **recipe})

    if method == "lora":
        before = load_file(adapter / "adapter_model.safetensors")
        assert saved.keys() == before.keys()
        assert all(torch.equal(saved[name], before[name]) for name in before if "lora_" not in name)


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_embeddings_saved_beside_the_matrices_are_kept(tmp_path: Path, family: str, method: str) -> None:
    base = tiny.save_model(tmp_path / "base", family)
    adapter = ship(tmp_path / "adapter", base, embeddings=True)

    saved = check(tmp_path, base, adapter, method=method)

    if method == "lora":
        assert saved.keys() == load_file(adapter / "adapter_model.safetensors").keys()


def test_target_parameters_are_merged_into_full_weights(tmp_path: Path) -> None:
    base = tiny.save_model(tmp_path / "base", "mixtral")
    fields = {"target_modules": ["q_proj"], "target_parameters": ["mlp.experts.gate_up_proj"]}
    adapter = ship(tmp_path / "adapter", base, **fields)

    check(tmp_path, base, adapter, method="full")


def refusal(tmp_path: Path, base: Path, adapter: Path, **recipe: Any) -> str:
    job = read_job(tiny.stage(tmp_path / "w", base, tiny.text_rows(), adapter=adapter, **recipe))
    with pytest.raises(TrainingRefusal) as refused:
        models.load_policy(job, ARITHMETIC)
    assert "\n" not in refused.value.message
    return refused.value.message


def rewrite(adapter: Path, **changes: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_tensor_without_a_place_in_the_base_model_is_refused(tmp_path: Path, base: Path, adapter: Path) -> None:
    other = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    tensors = load_file(other / "adapter_model.safetensors")
    save_file(tensors | {"base_model.model.score.weight": torch.ones(2, 2)}, other / "adapter_model.safetensors")

    message = refusal(tmp_path, base, other, method="lora")

    assert "no place for 1 tensor (base_model.model.score.weight)" in message
    assert "merge it into its base model" in message


def test_a_tensor_that_lacks_is_refused(tmp_path: Path, base: Path, adapter: Path) -> None:
    other = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    tensors = load_file(other / "adapter_model.safetensors")
    del tensors[next(name for name in tensors if "lora_B" in name)]
    save_file(tensors, other / "adapter_model.safetensors")

    assert "lacks 1 tensor" in refusal(tmp_path, base, other, method="lora")


def test_resized_embeddings_are_refused(tmp_path: Path, base: Path) -> None:
    larger = tiny.save_model(tmp_path / "larger", vocab_size=264)
    adapter = ship(tmp_path / "adapter", larger, embeddings=True)

    assert "came with more tokens than the base model has" in refusal(tmp_path, base, adapter, method="lora")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"init_lora_weights": "pissa"}, "changes the base model's weights at each load"),
        ({"layer_replication": [[0, 2]]}, "sets layer_replication, which is not supported"),
        ({"megatron_config": {"a": 1}, "megatron_core": "this"}, "sets megatron_config, which is not supported"),
        ({"made_by_a_newer_peft": True}, "sets made_by_a_newer_peft"),
    ],
)
def test_an_adapter_that_would_be_trained_as_something_else_is_refused(
    tmp_path: Path, base: Path, adapter: Path, changes: dict[str, Any], expected: str
) -> None:
    other = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    rewrite(other, **changes)

    assert expected in refusal(tmp_path, base, other, method="lora")


def test_an_adapter_of_another_kind_is_merged(tmp_path: Path, base: Path) -> None:
    other = tmp_path / "adapter"
    config = IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj"], feedforward_modules=[])
    with lora.peft_quiet():
        policy = get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for name, weight in policy.named_parameters():
            if "ia3" in name:
                weight.mul_(1.5)
    policy.save_pretrained(other)

    check(tmp_path, base, other, method="full")


def test_an_adapter_s_other_chat_template_is_refused_and_an_equal_one_is_not(
    tmp_path: Path, base: Path, adapter: Path
) -> None:
    other = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    tiny.tokenizer().save_pretrained(other)
    job = read_job(tiny.stage(tmp_path / "equal", base, tiny.text_rows(), adapter=other, method="lora"))
    models.load_policy(job, ARITHMETIC)

    (other / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")

    assert "has another chat template than the base model" in refusal(tmp_path, base, other, method="lora")


def test_full_weights_keep_the_files_of_their_tokenizer_and_of_generation(tmp_path: Path) -> None:
    base = tiny.save_model(tmp_path / "base", chat=True)
    (base / "generation_config.json").write_text('{"eos_token_id": [256, 257], "temperature": 0.3, "do_sample": true}')
    job = read_job(tiny.stage(tmp_path / "w", base, tiny.text_rows()))
    out = tmp_path / "out"
    out.mkdir()

    models.save_policy(models.load_policy(job, ARITHMETIC), job, models.load_tokens(base), out)

    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert (out / name).read_bytes() == (base / name).read_bytes()


def test_full_weights_are_not_saved_without_a_tensor_that_the_base_model_has(tmp_path: Path) -> None:
    base = tiny.save_model(tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    save_file(tensors | {"value_head.weight": torch.ones(1, 16)}, base / "model.safetensors", {"format": "pt"})
    job = read_job(tiny.stage(tmp_path / "w", base, tiny.text_rows()))

    with pytest.raises(
        TrainingRefusal, match=r"value_head\.weight; full weights would be saved without them: set method to l"
    ):
        models.load_policy(job, ARITHMETIC)
