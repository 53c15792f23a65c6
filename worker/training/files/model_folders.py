"""Checks the folders of models and adapters without torch: missing files, truncated files, parts that do not fit.

Each refusal is one sentence: the field, the fault, the remedy.

A safetensors file begins with the length of its header in 8 bytes (little-endian), then the header, which is JSON: name
of each tensor → dtype, shape, and its first and last byte behind the header (huggingface.co/docs/safetensors).
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thumbwheel.wire.recipe import Recipe

from worker.training.machine.process import TrainingRefusal, first_line

#: Name of a tensor → its shape.
Shapes = dict[str, tuple[int, ...]]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER_WEIGHTS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
#: Any folder with a tokenizer has at least one of these files.
TOKENIZERS = ("tokenizer*", "vocab*", "*.model", "*.tiktoken", "tekken.json")
#: Further files of a tokenizer, such as its chat template.
BESIDE_TOKENIZERS = ("merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template*")
#: Files that torch unpickles, which can run any code.
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
#: Largest header that the format allows, in bytes.
LONGEST_HEADER = 100_000_000
#: Fields of the recipe's LoRA → their names in peft.
LORA_FIELDS = {"rank": "r", "alpha": "lora_alpha", "rslora": "use_rslora", "dora": "use_dora"}


def require_config(folder: Path) -> None:
    """Raises `TrainingRefusal` unless `folder` holds a saved model that is not an adapter."""
    if not (folder / "config.json").is_file():
        raise TrainingRefusal(
            "base_model_missing", f"base_model: {folder} holds no config.json: name a folder with a saved model"
        )
    if (folder / ADAPTER_CONFIG).is_file():  # transformers would load the model that the adapter names, wherever it is
        raise TrainingRefusal(
            "base_model_missing",
            f"base_model: {folder} holds {ADAPTER_CONFIG}, so it is an adapter's: name the folder of the model that "
            "the adapter was trained on, and give the adapter as the reference",
        )


def require_safetensors(folder: Path) -> None:
    """Raises `TrainingRefusal` unless all weights of the model in `folder` are in safetensors files."""
    if not any(folder.glob("*.safetensors")):
        raise without_weights(folder)
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        return
    file_of = _document("base_model", folder / INDEX, "restore the folder").get("weight_map")
    files = sorted({str(name) for name in file_of.values()} if isinstance(file_of, dict) else ())
    other = [name for name in files if not name.endswith(".safetensors")]
    if other:
        raise TrainingRefusal(
            "unsafe_weights",
            f"base_model: {folder / INDEX} names {other[0]}, which is not a safetensors file: save the model again "
            "with save_pretrained",
        )


def without_weights(folder: Path) -> TrainingRefusal:
    """Returns the refusal of a model folder without safetensors files."""
    pickles = _pickles(folder)
    if pickles:
        return _unsafe("base_model", folder, pickles, "load the model with transformers")
    return TrainingRefusal(
        "base_model_missing", f"base_model: {folder} holds no weights (*.safetensors): name a complete folder"
    )


def require_adapter_weights(folder: Path) -> None:
    """Raises `TrainingRefusal` unless the weights of the adapter in `folder` are in a safetensors file."""
    if (folder / ADAPTER_WEIGHTS).is_file():
        return
    pickles = _pickles(folder)
    if pickles:
        raise _unsafe("reference", folder, pickles, "load the adapter with peft")
    raise TrainingRefusal(
        "reference_missing", f"reference: {folder} holds no {ADAPTER_WEIGHTS}: stage the shipped adapter again"
    )


def tokenizer_files(folder: Path) -> list[Path]:
    """Returns the files of the tokenizer in `folder`, including its chat template, sorted by name."""
    return sorted(
        {path for pattern in (*TOKENIZERS, *BESIDE_TOKENIZERS) for path in folder.glob(pattern) if path.is_file()}
    )


def _pickles(folder: Path) -> list[str]:
    return sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))


def _unsafe(field: str, folder: Path, pickles: list[str], load: str) -> TrainingRefusal:
    return TrainingRefusal(
        "unsafe_weights",
        f"{field}: {folder} holds {pickles[0]} and no *.safetensors: such files can run code and are never loaded: "
        f"if you trust the file, {load} and write it again with save_pretrained",
    )


def require_model(folder: Path, remedy: str) -> tuple[dict[str, Any], Shapes]:
    """Returns the config of the model in `folder` and the shapes of its weights. Raises `TrainingRefusal`.

    There are no shapes if the weights are in safetensors files with unusual names.

    remedy  the advice for a damaged file
    """
    require_config(folder)
    config = _document("base_model", folder / "config.json", remedy)
    require_safetensors(folder)
    shapes = _weights(folder, remedy)
    if not any(True for pattern in TOKENIZERS for _ in folder.glob(pattern)):
        raise TrainingRefusal("tokenizer", f"base_model: {folder} holds no tokenizer: add the model's tokenizer.json")
    if (folder / "tokenizer.json").is_file():
        _document("base_model", folder / "tokenizer.json", remedy)
    return config, shapes


def _weights(folder: Path, remedy: str) -> Shapes:
    if (folder / WEIGHTS).is_file():
        return shapes_of("base_model", folder / WEIGHTS, remedy)
    if not (folder / INDEX).is_file():
        return {}
    file_of = _document("base_model", folder / INDEX, remedy).get("weight_map")
    if not isinstance(file_of, dict):
        raise _damaged("base_model", folder / INDEX, "it has no weight_map", remedy)
    files = sorted(set(file_of.values()))
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise _incomplete(folder, f"{len(missing)} of {len(files)} files that its {INDEX} names", missing[0])
    shapes: Shapes = {}
    for name in files:
        held = shapes_of("base_model", folder / name, remedy)
        lacking = sorted(weight for weight, file in file_of.items() if file == name and weight not in held)
        if lacking:
            raise _incomplete(folder, f"{len(lacking)} weights that its {INDEX} puts into {name}", lacking[0])
        shapes |= held
    return shapes


def require_adapter(folder: Path, recipe: Recipe, base: Shapes, remedy: str) -> None:
    """Raises `TrainingRefusal` unless the shipped adapter is complete, matches the recipe and has the shapes of `base`.

    remedy  the advice for a damaged file
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
    """Raises `TrainingRefusal` if a matrix of the adapter does not fit its module.

    A is [rank, inputs] and B [outputs, rank] of a module whose weight is [outputs, inputs], or its transpose. Some
    models save weights under other names than their modules have; those are not checked.
    """
    module, separator, kind = name.removeprefix("base_model.model.").rpartition(".lora_")
    adapted = base.get(f"{module}.weight")
    if not separator or adapted is None or len(shape) != 2:
        return
    size = shape[1] if kind.startswith("A") else shape[0] if kind.startswith("B") else None
    if size is not None and size not in adapted:
        raise misfit(f"it has {size} features for {module}, whose weight is {' × '.join(map(str, adapted))}")


def misfit(why: str) -> TrainingRefusal:
    """Returns the refusal of an adapter that does not fit its base model."""
    return TrainingRefusal(
        "adapter_unloadable",
        f"reference: the shipped adapter does not fit this base model ({why}): stage the adapter that was trained on "
        "it",
    )


def require_same_lora(recipe: Recipe, shipped: Mapping[str, Any]) -> None:
    """Raises `TrainingRefusal` unless the recipe describes the shipped adapter, which training continues as it is.

    shipped  its configuration, by the names of peft
    """
    for field, name in LORA_FIELDS.items():
        wanted = getattr(recipe.lora, field)
        actual = shipped.get(name, wanted)
        if wanted != actual:
            raise TrainingRefusal(
                "adapter_conflict",
                f"recipe.json: lora.{field} is {_as_json(wanted)}, the shipped adapter has {_as_json(actual)}: "
                f"set lora.{field} to {_as_json(actual)}, or method to full to merge the adapter",
            )


def shapes_of(field: str, path: Path, remedy: str) -> Shapes:
    """Returns the shapes of the tensors in a safetensors file, by its header. Raises `TrainingRefusal`.

    The length of the file must agree with the header.
    """
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
        raise _damaged(field, path, f"it has {size} bytes, its header declares {expected}", remedy)
    return shapes


def _document(field: str, path: Path, remedy: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError) as error:
        raise _damaged(field, path, first_line(error), remedy) from None
    return content


def _damaged(field: str, path: Path, why: str, remedy: str) -> TrainingRefusal:
    return TrainingRefusal(f"{field}_damaged", f"{field}: {path} is damaged ({why}): {remedy}")


def _incomplete(folder: Path, what: str, first: str) -> TrainingRefusal:
    return TrainingRefusal(
        "base_model_incomplete", f"base_model: {folder} lacks {what}, first {first}: restore the folder"
    )


def _as_json(value: object) -> str:
    """Returns `value` as JSON writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
