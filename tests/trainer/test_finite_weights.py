"""Weights that are NaN or infinite are refused before training, by file and tensor."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainer import tiny
from worker.training.files.finite_weights import is_finite
from worker.training.machine.process import TrainingRefusal
from worker.training.train import train

TENSOR = "model.layers.1.mlp.up_proj.weight"


def spoil(path: Path, tensor: str, value: float) -> None:
    weights = load_file(path)
    weights[tensor][0, 1] = value
    save_file(weights, path, {"format": "pt"})


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_base_model_with_a_broken_weight_is_refused_by_its_file_and_tensor(
    tmp_path: Path, method: str, value: float
) -> None:
    folder = tiny.save_model(tmp_path / "base")
    spoil(folder / "model.safetensors", TENSOR, value)
    workdir = tiny.stage(tmp_path / "w", folder, tiny.text_rows(), method=method)

    with pytest.raises(TrainingRefusal) as refused:
        train(workdir)

    assert refused.value.code == "weights_not_finite"
    assert refused.value.message == (
        f"base_model: the tensor {TENSOR} in {folder / 'model.safetensors'} holds 1 of 512 numbers that are NaN or "
        "infinite: restore the folder, or name another model"
    )
    assert not tiny.lines(workdir / "metrics.jsonl")
    assert not list(workdir.glob("not-finite-*"))


def test_the_shard_that_holds_the_broken_weight_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    tiny.model().save_pretrained(folder, max_shard_size="10KB")
    tiny.tokenizer().save_pretrained(folder)
    [shard] = [path for path in folder.glob("*.safetensors") if TENSOR in load_file(path)]
    spoil(shard, TENSOR, float("nan"))
    workdir = tiny.stage(tmp_path / "w", folder, tiny.text_rows())

    with pytest.raises(TrainingRefusal, match=rf"the tensor {TENSOR} in {shard} holds 1 of 512 numbers"):
        train(workdir)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_shipped_adapter_with_a_broken_weight_is_refused_by_its_file_and_tensor(
    tmp_path: Path, base: Path, method: str
) -> None:
    adapter = tiny.save_adapter(tmp_path / "adapter", base)
    tensor = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"
    spoil(adapter / "adapter_model.safetensors", tensor, float("nan"))
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), adapter=adapter, method=method)

    with pytest.raises(TrainingRefusal, match=rf"reference: the tensor {tensor} in .*: ship another checkpoint"):
        train(workdir)


def test_weights_beyond_the_runs_precision_are_refused_by_name(tmp_path: Path) -> None:
    # given a weight that is finite in float64 and not in float32
    folder = tiny.save_model(tmp_path / "base")
    weights = load_file(folder / "model.safetensors")
    weights[TENSOR] = weights[TENSOR].double()
    weights[TENSOR][3, 3] = 1e39
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    workdir = tiny.stage(tmp_path / "w", folder, tiny.text_rows())

    with pytest.raises(
        TrainingRefusal, match=rf"base_model: the weight {TENSOR} from .* is infinite in the precision of this"
    ):
        train(workdir)


def test_whole_numbers_and_empty_tensors_are_finite() -> None:
    assert is_finite(torch.arange(3))
    assert is_finite(torch.zeros(0))
    assert not is_finite(torch.tensor([1.0, float("nan")], dtype=torch.bfloat16))
