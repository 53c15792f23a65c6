"""Folders of a model or an adapter, as far as their files show it without torch: what lacks, what is cut short, what
cannot belong together. Each refusal is one sentence: the field, what is wrong, the remedy.

A safetensors file begins with the length of its header in 8 bytes (little-endian), then the header, which is JSON: name
of each tensor → dtype, shape, and the bytes behind the header where it lies (huggingface.co/docs/safetensors).
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.runs.recipe import Recipe
from worker.training.machine.process import Refusal, first_line

#: Name of a tensor → its shape.
Shapes = dict[str, tuple[int, ...]]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER_WEIGHTS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
#: One of these is in any folder that a tokenizer is loaded from.
TOKENIZERS = ("tokenizer*", "vocab*", "*.model", "*.tiktoken", "tekken.json")
#: What belongs to a tokenizer beside these, its chat template for one.
BESIDE_TOKENIZERS = ("merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template*")
#: Files that torch unpickles, which can run any code.
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
#: What the format allows at most, in bytes.
LONGEST_HEADER = 100_000_000
#: Fields of the recipe's LoRA, and what peft calls them.
LORA_FIELDS = {"rank": "r", "alpha": "lora_alpha", "rslora": "use_rslora", "dora": "use_dora"}


def require_config(folder: Path) -> None:
    """Raises `Refusal` unless `folder` holds a saved model and no adapter."""
    if not (folder / "config.json").is_file():
        raise Refusal(
            "base_model_missing", f"base_model: {folder} holds no config.json: name a folder with a saved model"
        )
    if (folder / ADAPTER_CONFIG).is_file():  # transformers would load the model that the adapter names, from anywhere
        raise Refusal(
            "base_model_missing",
            f"base_model: {folder} holds {ADAPTER_CONFIG}, so it is an adapter's: name the folder of the model that "
            "the adapter was trained on, and give the adapter as the reference",
        )


def require_safetensors(folder: Path) -> None:
    """Raises `Refusal` unless all weights of the model in `folder` are in safetensors files."""
    if not any(folder.glob("*.safetensors")):
        raise without_weights(folder)
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        return
    places = _document("base_model", folder / INDEX, "restore the folder").get("weight_map")
    other = sorted({str(name) for name in places.values()} if isinstance(places, dict) else ())
    other = [name for name in other if not name.endswith(".safetensors")]
    if other:
        raise Refusal(
            "unsafe_weights",
            f"base_model: {folder / INDEX} names {other[0]}, which is no safetensors file: save the model again with "
            "save_pretrained",
        )


def without_weights(folder: Path) -> Refusal:
    """The refusal of a model folder without safetensors files."""
    pickles = _pickles(folder)
    if pickles:
        return _unsafe("base_model", folder, pickles, "load the model with transformers")
    return Refusal(
        "base_model_missing", f"base_model: {folder} holds no weights (*.safetensors): name a complete folder"
    )


def require_adapter_weights(folder: Path) -> None:
    """Raises `Refusal` unless the weights of the adapter in `folder` are in a safetensors file."""
    if (folder / ADAPTER_WEIGHTS).is_file():
        return
    pickles = _pickles(folder)
    if pickles:
        raise _unsafe("reference", folder, pickles, "load the adapter with peft")
    raise Refusal(
        "reference_missing", f"reference: {folder} holds no {ADAPTER_WEIGHTS}: stage the shipped adapter again"
    )


def tokenizer_files(folder: Path) -> list[Path]:
    """Returns the files of the tokenizer in `folder`, its chat template's too, sorted by name."""
    return sorted(
        {path for pattern in (*TOKENIZERS, *BESIDE_TOKENIZERS) for path in folder.glob(pattern) if path.is_file()}
    )


def _pickles(folder: Path) -> list[str]:
    return sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))


def _unsafe(field: str, folder: Path, pickles: list[str], load: str) -> Refusal:
    return Refusal(
        "unsafe_weights",
        f"{field}: {folder} holds {pickles[0]} and no *.safetensors: such files can run code and are never loaded: "
        f"where you trust the file, {load} and write it again with save_pretrained",
    )


def require_model(folder: Path, remedy: str) -> tuple[dict[str, Any], Shapes]:
    """The config of the model in `folder`, and the shapes of its weights; none where they are not in safetensors files
    of the usual names. Raises `Refusal`.

    remedy  what to do where a file is damaged
    """
    require_config(folder)
    config = _document("base_model", folder / "config.json", remedy)
    require_safetensors(folder)
    shapes = _weights(folder, remedy)
    if not any(True for pattern in TOKENIZERS for _ in folder.glob(pattern)):
        raise Refusal("tokenizer", f"base_model: {folder} holds no tokenizer: add the model's tokenizer.json")
    if (folder / "tokenizer.json").is_file():
        _document("base_model", folder / "tokenizer.json", remedy)
    return config, shapes


def _weights(folder: Path, remedy: str) -> Shapes:
    if (folder / WEIGHTS).is_file():
        return shapes_of("base_model", folder / WEIGHTS, remedy)
    if not (folder / INDEX).is_file():
        return {}
    places = _document("base_model", folder / INDEX, remedy).get("weight_map")
    if not isinstance(places, dict):
        raise _damaged("base_model", folder / INDEX, "it has no weight_map", remedy)
    files = sorted(set(places.values()))
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise _incomplete(folder, f"{len(missing)} of {len(files)} files that its {INDEX} names", missing[0])
    shapes: Shapes = {}
    for name in files:
        there = shapes_of("base_model", folder / name, remedy)
        lacking = sorted(weight for weight, place in places.items() if place == name and weight not in there)
        if lacking:
            raise _incomplete(folder, f"{len(lacking)} weights that its {INDEX} puts into {name}", lacking[0])
        shapes |= there
    return shapes


def require_adapter(folder: Path, recipe: Recipe, base: Shapes, remedy: str) -> None:
    """The shipped adapter is whole, of the kind that the recipe continues, and of weights shaped as `base` has them.

    remedy  what to do where a file is damaged. Raises `Refusal`.
    """
    config = _document("reference", folder / ADAPTER_CONFIG, remedy)
    require_adapter_weights(folder)
    shapes = shapes_of("reference", folder / ADAPTER_WEIGHTS, remedy)
    if config.get("peft_type") != "LORA":
        return
    if recipe.method == "lora":
        require_same_lora(recipe, config)
    for name, shape in shapes.items():
        _require_fitting(name, shape, base)


def _require_fitting(name: str, shape: tuple[int, ...], base: Shapes) -> None:
    """A is [rank, inputs] and B [outputs, rank] of a module whose weight is [outputs, inputs], or turned round.

    Some models save their weights under other names than their modules have: nothing is said of those.
    """
    module, found, kind = name.removeprefix("base_model.model.").rpartition(".lora_")
    adapted = base.get(f"{module}.weight")
    if not found or adapted is None or len(shape) != 2:
        return
    size = shape[1] if kind.startswith("A") else shape[0] if kind.startswith("B") else None
    if size is not None and size not in adapted:
        raise misfit(f"it has {size} features for {module}, whose weight is {' × '.join(map(str, adapted))}")


def misfit(why: str) -> Refusal:
    """Of an adapter and the base model that it should be laid over."""
    return Refusal(
        "adapter_unloadable",
        f"reference: the shipped adapter does not fit this base model ({why}): stage the adapter that was trained on "
        "it",
    )


def require_same_lora(recipe: Recipe, shipped: Mapping[str, Any]) -> None:
    """The shipped adapter is trained on as it is, so the recipe has to describe it.

    shipped  its configuration, by the names of peft. Raises `Refusal`.
    """
    for field, name in LORA_FIELDS.items():
        wanted = getattr(recipe.lora, field)
        there = shipped.get(name, wanted)
        if wanted != there:
            raise Refusal(
                "adapter_conflict",
                f"recipe.json: lora.{field} is {_said(wanted)}, the shipped adapter has {_said(there)}: "
                f"set lora.{field} to {_said(there)}, or method to full to merge the adapter",
            )


def shapes_of(field: str, path: Path, remedy: str) -> Shapes:
    """Of the tensors in a safetensors file, by its header. The file is as long as that says. Raises `Refusal`."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > LONGEST_HEADER:
                raise ValueError("its header is longer than the format allows")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        ends = [tensor["data_offsets"][1] for tensor in header.values()]
        shapes = {name: tuple(tensor["shape"]) for name, tensor in header.items()}
        size, expected = path.stat().st_size, 8 + length + max(ends, default=0)
    except (OSError, struct.error, ValueError, AttributeError, KeyError, IndexError, TypeError) as error:
        raise _damaged(field, path, first_line(error), remedy) from None
    if size != expected:
        raise _damaged(field, path, f"it has {size} bytes, its header speaks of {expected}", remedy)
    return shapes


def _document(field: str, path: Path, remedy: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError) as error:
        raise _damaged(field, path, first_line(error), remedy) from None
    return content


def _damaged(field: str, path: Path, why: str, remedy: str) -> Refusal:
    return Refusal(f"{field}_damaged", f"{field}: {path} is damaged ({why}): {remedy}")


def _incomplete(folder: Path, what: str, first: str) -> Refusal:
    return Refusal("base_model_incomplete", f"base_model: {folder} lacks {what}, first {first}: restore the folder")


def _said(value: object) -> str:
    """As JSON has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
