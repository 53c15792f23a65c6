"""Weights are loaded from safetensors files alone: a file that torch would unpickle is never opened, and no code of a
model folder is run.
"""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer import tiny
from worker.demo import sampling
from worker.evaluation.score import score
from worker.training.files.fingerprint import weights_fingerprint
from worker.training.machine.process import TrainingRefusal
from worker.training.models import adapters, policy
from worker.training.standalone.folder import asked_for
from worker.training.standalone.request import TrainingRequest
from worker.training.train import train

CPU = torch.device("cpu")


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def trapped(source: Path, target: Path, name: str) -> Path:
    """A copy of `source` with a trap in the file `name` instead of its weights."""
    shutil.copytree(source, target)
    for file in target.glob("*.safetensors"):
        file.unlink()
    (target / name).write_bytes(pickle.dumps(Trap(target / "sprung")))
    return target


def refusal(call: Any, *arguments: Any) -> TrainingRefusal:
    with pytest.raises(TrainingRefusal) as refused:
        call(*arguments)
    assert "\n" not in refused.value.message
    return refused.value


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "weights.pkl"])
def test_a_base_model_of_pickles_is_refused(tmp_path: Path, base: Path, name: str) -> None:
    folder = trapped(base, tmp_path / "base", name)

    assert weights_fingerprint(folder) is None
    by_trainer = refusal(train, tiny.stage(tmp_path / "w", folder, tiny.text_rows()))
    by_loading = refusal(policy.load_weights, folder, torch.float32, CPU)
    request = TrainingRequest(data=(tmp_path / "rows.jsonl",), model=folder, out=tmp_path / "out")
    (tmp_path / "rows.jsonl").touch()
    by_command = refusal(asked_for, request, request.recipe())

    for refused in (by_trainer, by_loading, by_command):
        assert refused.code == "unsafe_weights"
        assert f"holds {name} and no *.safetensors" in refused.message
        assert "save_pretrained" in refused.message
    assert not (folder / "sprung").exists()


@pytest.mark.parametrize("beside", [(), ("other.safetensors",)])
def test_an_adapter_of_pickles_is_refused(tmp_path: Path, base: Path, adapter: Path, beside: tuple[str, ...]) -> None:
    folder = trapped(adapter, tmp_path / "adapter", "adapter_model.bin")
    for name in beside:
        shutil.copyfile(adapter / "adapter_model.safetensors", folder / name)

    bare = policy.load_weights(base, torch.float32, CPU)
    by_trainer = refusal(train, tiny.stage(tmp_path / "w", base, tiny.text_rows(), adapter=folder, method="lora"))

    for refused in (by_trainer, refusal(adapters.load_adapter, bare, folder), refusal(sampling.load, folder, base)):
        assert "holds adapter_model.bin" in refused.message
    assert not (folder / "sprung").exists()


def test_the_scorer_refuses_pickles_in_what_was_trained(tmp_path: Path, base: Path, adapter: Path) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), tiny.text_rows(8, seed=5), method="lora")
    trapped(adapter, workdir / "output", "adapter_model.bin")

    assert refusal(score, workdir).code == "unsafe_weights"
    assert not (workdir / "output" / "sprung").exists()


def test_an_index_that_names_pickles_is_refused(tmp_path: Path, base: Path) -> None:
    folder = trapped(base, tmp_path / "base", "part.bin")
    shutil.copyfile(base / "model.safetensors", folder / "model-1.safetensors")
    index = {"metadata": {}, "weight_map": {"model.norm.weight": "part.bin", "lm_head.weight": "model-1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    refused = refusal(train, tiny.stage(tmp_path / "w", folder, tiny.text_rows()))

    assert "names part.bin, which is not a safetensors file" in refused.message
    assert not (folder / "sprung").exists()


def test_a_demo_model_of_pickles_is_not_loaded(tmp_path: Path, base: Path) -> None:
    folder = trapped(base, tmp_path / "base", "pytorch_model.bin")

    with pytest.raises(OSError, match="safetensors"):
        sampling.load(folder)
    assert not (folder / "sprung").exists()


def test_code_of_a_model_folder_is_not_run(tmp_path: Path, base: Path) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "base"))
    config = json.loads((folder / "config.json").read_text())
    auto_map = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": auto_map}))
    (folder / "own.py").write_text(f"open({str(folder / 'sprung')!r}, 'w')")

    refused = refusal(train, tiny.stage(tmp_path / "w", folder, tiny.text_rows()))

    assert refused.code == "remote_code"
    assert "needs code of its own (auto_map in its config.json), which is never run" in refused.message
    assert not (folder / "sprung").exists()


def test_a_base_model_s_folder_that_names_another_model_by_an_adapter_is_refused(
    tmp_path: Path, base: Path, adapter: Path
) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "base"))
    shutil.copyfile(adapter / "adapter_config.json", folder / "adapter_config.json")

    refused = refusal(train, tiny.stage(tmp_path / "w", folder, tiny.text_rows()))

    assert "holds adapter_config.json, so it is an adapter's" in refused.message
