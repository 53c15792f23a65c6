"""Loads and saves adapters without losing a tensor.

An adapter's file can hold more than low-rank matrices: whole modules (modules_to_save), rows of an embedding, biases,
embeddings that were trained or resized. peft loads by name and ignores a tensor that it has no place for, and it saves
only the tensors that it made itself. So every tensor of the file is looked up in the loaded model, and tensors that
training does not change are written again as the shipped file holds them.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import transformers
from peft import LoraConfig, PeftConfig, PeftModel
from peft.utils.save_and_load import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from worker.training.files import model_folders
from worker.training.files.finite_weights import require_finite_weights
from worker.training.machine.out_of_memory import is_out_of_memory
from worker.training.machine.process import TrainingRefusal, first_line
from worker.training.models import lora

#: Fields of adapter_config.json that an adapter may set and still be trained on or merged as it is.
SUPPORTED = frozenset(
    {
        "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
        "inference_mode", "r", "lora_alpha", "lora_dropout", "lora_bias", "bias", "use_rslora", "use_dora",
        "target_modules", "exclude_modules", "target_parameters", "layers_to_transform", "layers_pattern",
        "rank_pattern", "alpha_pattern", "modules_to_save", "trainable_token_indices", "ensure_weight_tying",
        "fan_in_fan_out", "init_lora_weights", "runtime_config", "eva_config",
    }
)  # fmt: skip
#: Initialisations of an adapter that also change the weights of the base model each time the adapter is loaded.
CHANGES_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
REMEDY = "merge it into its base model and give the result as the base model"


def load_adapter(model: Any, folder: Path, *, trainable: bool = False) -> Any:
    """Returns `model` with the adapter in `folder`, without dropout and with every tensor of the file.

    trainable   whether the low-rank matrices require gradients; nothing else does

    Raises `TrainingRefusal` if the adapter does not fit or a tensor would be lost.
    """
    model_folders.require_adapter_weights(folder)
    config = lora.read_config(folder)
    require_supported(folder, config)
    config.inference_mode = not trainable
    if hasattr(config, "lora_dropout"):
        config.lora_dropout = 0.0
    try:
        with lora.peft_quiet():
            policy = PeftModel.from_pretrained(model, str(folder), config=config, is_trainable=trainable).eval()
            # Loaded again for the report: from_pretrained does not list the tensors that it ignored.
            tensors = load_file(folder / model_folders.ADAPTER_WEIGHTS)
            result = set_peft_model_state_dict(policy, tensors)
    except KeyError as error:
        raise _incomplete(folder, [str(error.args[0])]) from None
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise TrainingRefusal(
            "adapter_unloadable",
            f"reference: the adapter in {folder} does not load on this base model ({first_line(error)}): "
            f"stage the adapter that was trained on it; if it came with more tokens than the base model has, "
            f"{REMEDY}",
        ) from None
    if result.unexpected_keys:
        names = sorted(result.unexpected_keys)
        raise TrainingRefusal(
            "adapter_tensors",
            f"reference: the base model has no place for {_counted(names)} of the adapter in {folder}, which would be "
            f"lost: stage the adapter that was trained on this base model, or {REMEDY}",
        )
    require_finite_weights(tensors, folder, "reference", "ship another checkpoint")
    prefix = getattr(policy.base_model, "prefix", "lora_")
    missing = sorted(name for name in result.missing_keys if prefix in name)
    if missing:
        raise _incomplete(folder, missing)
    for name, weight in policy.named_parameters():
        if weight.requires_grad and prefix not in name:
            weight.requires_grad = False
    return policy


def save_adapter(policy: Any, folder: Path, shipped: Path | None) -> None:
    """Writes the adapter of `policy` into `folder`: the trained matrices in float32, all else as `shipped` holds it.

    shipped     folder of the adapter that training continued, None if a new adapter was trained
    """
    policy.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # the checkpoint's card is written when it is registered
    if shipped is None:
        return
    before = load_file(shipped / model_folders.ADAPTER_WEIGHTS)
    untrained = {name for name in before if policy.base_model.prefix not in name}
    if not untrained:
        return
    trained = get_peft_model_state_dict(policy, save_embedding_layers=False)
    whole: dict[str, Tensor] = {
        name: value.detach().cpu().clone().contiguous() for name, value in trained.items() if name not in untrained
    }
    tensors = whole | {name: before[name] for name in untrained}
    save_file(tensors, folder / model_folders.ADAPTER_WEIGHTS, {"format": "pt"})


def require_supported(folder: Path, config: PeftConfig) -> None:
    """Raises `TrainingRefusal` if the adapter in `folder` has a setting that training would lose or change."""
    if not isinstance(config, LoraConfig):
        return
    known = {field.name for field in fields(config)}
    content: dict[str, Any] = json.loads((folder / model_folders.ADAPTER_CONFIG).read_bytes())
    usual = LoraConfig()
    for name, value in content.items():
        if value and name not in SUPPORTED and (name not in known or value != getattr(usual, name)):
            raise _unsupported(folder, f"sets {name}, which is not supported")
    if str(content.get("init_lora_weights")).startswith(CHANGES_THE_BASE):
        way = content["init_lora_weights"]
        raise _unsupported(folder, f"has init_lora_weights {way}, which changes the base model's weights at each load")


def require_same_tokenizer(folder: Path, base: Path) -> None:
    """Raises `TrainingRefusal` if the adapter in `folder` has a tokenizer or chat template other than the base model's.

    Training and serving tokenise with the base model's, so the adapter's own would be lost.
    """
    if not model_folders.tokenizer_files(folder):
        return
    own, bases = (_tokenizer_facts(path) for path in (folder, base))
    for what in own:
        if own[what] is not None and own[what] != bases[what]:
            raise TrainingRefusal(
                "adapter_tokenizer",
                f"reference: the adapter in {folder} has another {what} than the base model in {base}: remove the "
                f"adapter's tokenizer files if they do not matter, or copy them into the base model's folder",
            )


def _tokenizer_facts(folder: Path) -> dict[str, Any]:
    """Returns the parts that determine a prompt's text and token ids, by name; None for a part that is missing."""
    facts: dict[str, Any] = {"vocabulary": None, "chat template": None, "end token": None}
    template = folder / "chat_template.jinja"
    if not any(any(folder.glob(pattern)) for pattern in model_folders.TOKENIZERS):
        return facts | {"chat template": template.read_text(encoding="utf-8") if template.is_file() else None}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - a folder can be broken in any way
        raise TrainingRefusal(
            "tokenizer",
            f"the tokenizer in {folder} does not load ({first_line(error)}): restore its files, or remove all of them "
            "from an adapter's folder",
        ) from None
    return {
        "vocabulary": tokenizer.get_vocab(),
        "chat template": tokenizer.chat_template,
        "end token": tokenizer.eos_token,
    }


def _incomplete(folder: Path, names: list[str]) -> TrainingRefusal:
    return TrainingRefusal(
        "adapter_tensors",
        f"reference: the adapter in {folder} lacks {_counted(names)}: restore {model_folders.ADAPTER_WEIGHTS}, or "
        "stage another adapter",
    )


def _unsupported(folder: Path, what: str) -> TrainingRefusal:
    return TrainingRefusal("adapter_unsupported", f"reference: the adapter in {folder} {what}: {REMEDY}")


def _counted(names: list[str]) -> str:
    first = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} ({first})"
