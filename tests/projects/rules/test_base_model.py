"""Folders of base models are recognised, and other folders are refused with a remedy."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app.projects.base_model import reasons_impossible, reasons_unusable

HEADER = b"{}"
SAFETENSORS = len(HEADER).to_bytes(8, "little") + HEADER


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (tmp_path / "model.safetensors").write_bytes(SAFETENSORS)
    (tmp_path / "tokenizer.json").write_text("{}")
    return tmp_path


def test_a_saved_model_is_one(model: Path) -> None:
    assert reasons_unusable(model) == []


def test_a_model_in_shards_is_one_where_none_is_missing(model: Path) -> None:
    (model / "model.safetensors").rename(model / "model-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))

    assert "lacks model-2.safetensors" in reasons_unusable(model)[0]
    (model / "model-2.safetensors").write_bytes(SAFETENSORS)
    assert reasons_unusable(model) == []


def without(name: str) -> Callable[[Path], None]:
    return lambda model: (model / name).unlink()


def pickled(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


def adapter(model: Path) -> None:
    (model / "config.json").rename(model / "adapter_config.json")


def own_code(model: Path) -> None:
    (model / "config.json").write_text(json.dumps({"model_type": "x", "auto_map": {"AutoModel": "code.Model"}}))


def cut_short(model: Path) -> None:
    (model / "model.safetensors").write_bytes((1000).to_bytes(8, "little") + b"{")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (without("config.json"), "has no config.json"),
        (without("tokenizer.json"), "has no tokenizer"),
        (without("model.safetensors"), "has no weights as safetensors: save the model"),
        (pickled, "pytorch_model.bin is never loaded"),
        (adapter, "It holds an adapter: name the base model of that adapter"),
        (own_code, "needs code of its own (auto_map), which is never run"),
        (cut_short, "is not a safetensors file, or is truncated"),
    ],
)
def test_what_is_missing_or_wrong_is_named(model: Path, spoil: Callable[[Path], None], reason: str) -> None:
    spoil(model)

    assert reason in " ".join(reasons_unusable(model))


def test_relative_paths_and_names_of_a_hub_are_distinguished(tmp_path: Path) -> None:
    assert "looks like the name of a model on a hub" in reasons_impossible("org/model")[0]
    assert "is a relative path" in reasons_impossible("./models/mine")[0]
    assert reasons_impossible("/models/mine") == []
    assert "There is no folder" in reasons_unusable(tmp_path / "none")[0]
