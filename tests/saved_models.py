"""Saved models and adapters whose weights are zeros: valid folders that are made without torch."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: The weights of a model of one layer: name → shape.
BASE = {"model.embed_tokens.weight": (20, 8), "model.layers.0.self_attn.q_proj.weight": (8, 8)}
ADAPTED = "base_model.model.model.layers.0.self_attn.q_proj"
ADAPTER = {f"{ADAPTED}.lora_A.weight": (4, 8), f"{ADAPTED}.lora_B.weight": (8, 4)}


def safetensors(path: Path, shapes: Mapping[str, tuple[int, int]]) -> Path:
    """A file of float32 zeros, as huggingface.co/docs/safetensors describes it."""
    header, end = {}, 0
    for name, (rows, columns) in shapes.items():
        begin, end = end, end + 4 * rows * columns
        header[name] = {"dtype": "F32", "shape": [rows, columns], "data_offsets": [begin, end]}
    written = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(written)) + written + bytes(end))
    return path


def saved_model(folder: Path, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    (folder / "tokenizer.json").write_text("{}")
    safetensors(folder / "model.safetensors", BASE)
    return folder


def saved_adapter(folder: Path, shapes: Mapping[str, tuple[int, int]] = ADAPTER, **config: Any) -> dict[str, Path]:
    """Saves a LoRA adapter of rank 4 and returns its files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_rslora": False, "use_dora": False, **config}
    (folder / "adapter_config.json").write_text(json.dumps(chosen))
    safetensors(folder / "adapter_model.safetensors", shapes)
    return {path.name: path for path in folder.iterdir()}
