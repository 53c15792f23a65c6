"""Checks by its files alone whether a folder holds a base model: nothing is loaded."""

import json
from pathlib import Path
from typing import Any

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "tekken.json")
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"


def reasons_impossible(base_model: str) -> list[str]:
    """Returns the reason why the text cannot be a folder: a relative path, or the name of a model on a hub."""
    if not base_model.startswith("/"):
        hub = base_model.count("/") == 1 and not base_model.startswith((".", "~"))
        what = "looks like the name of a model on a hub" if hub else "is a relative path"
        return [f"{base_model!r} {what}: name the absolute path of a folder that holds the model."]
    return []


def reasons_unusable(folder: Path) -> list[str]:
    """Returns the reasons why a run could not train the folder's model, each with its remedy; empty if it could.

    A base model is a folder with config.json, weights as safetensors, and a tokenizer.
    """
    impossible = reasons_impossible(str(folder))
    if impossible:
        return impossible
    try:
        if not folder.is_dir():
            return [f"There is no folder {folder} here: check the path, or mount it into this machine or container."]
        names = {path.name for path in folder.iterdir()}
    except PermissionError:
        return [f"{folder} cannot be read by this user: grant read access (chmod -R a+rX)."]
    except (OSError, ValueError) as error:
        return [f"{folder} cannot be read ({error})."]
    reasons = []
    configuration = _document(folder / "config.json") if "config.json" in names else None
    if "config.json" not in names:
        adapter = " It holds an adapter: name the base model of that adapter." if ADAPTER in names else ""
        reasons.append(f"{folder} has no config.json: save the model with save_pretrained.{adapter}")
    elif configuration is None or not isinstance(configuration.get("model_type"), str):
        reasons.append(f"{folder}/config.json is not the configuration of a model (no model_type).")
    elif configuration.get("auto_map"):
        reasons.append(f"{folder}/config.json needs code of its own (auto_map), which is never run.")
    reasons += _weights(folder, names)
    if not names.intersection(TOKENIZER_FILES):
        reasons.append(f"{folder} has no tokenizer: save it next to the model with save_pretrained.")
    return reasons


def _weights(folder: Path, names: set[str]) -> list[str]:
    if INDEX in names:
        index = _document(folder / INDEX) or {}
        weight_map = index.get("weight_map")
        shards = set(weight_map.values()) if isinstance(weight_map, dict) else set()
        missing = sorted(str(shard) for shard in shards if shard not in names)
        if not shards:
            return [f"{folder}/{INDEX} names no shards: save the model again."]
        if missing:
            return [f"{folder} lacks {', '.join(missing[:3])}, which {INDEX} names: copy the whole folder."]
        return _unreadable(folder, sorted(map(str, shards)))
    safetensors = sorted(name for name in names if name.endswith(".safetensors"))
    if safetensors:
        return _unreadable(folder, safetensors)
    others = sorted(name for name in names if name.endswith((".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack")))
    hint = f" ({others[0]} is never loaded)" if others else ""
    return [f"{folder} has no weights as safetensors{hint}: save the model with save_pretrained."]


def _unreadable(folder: Path, names: list[str]) -> list[str]:
    for name in names:
        try:
            with (folder / name).open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = file.read(1)
            if header != b"{" or length + 8 > (folder / name).stat().st_size:
                return [f"{folder}/{name} is not a safetensors file, or is truncated: copy it again."]
        except PermissionError:
            return [f"{folder}/{name} cannot be read by this user: grant read access (chmod a+r)."]
        except OSError as error:
            return [f"{folder}/{name} cannot be read ({error})."]
    return []


def _document(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None
