"""Loads the policy that is trained from a base model and the shipped adapter, and saves it.

At step 0 the policy equals the reference by construction: it *is* the shipped checkpoint. With LoRA the shipped
adapter is continued; with full fine-tuning it is merged into the weights first; if the base model was shipped, a new
adapter starts at zero. The policy itself therefore scores the reference before the first update, and no second model
is ever in memory.

Dropout is off everywhere, because a model in evaluation mode has none; gradients are computed as usual.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import get_peft_model
from thumbwheel.wire.recipe import Recipe
from torch import nn

from worker.training.data.tokens import Tokens
from worker.training.files import model_folders
from worker.training.files.finite_weights import require_finite_weights
from worker.training.forward.router_balance import coefficient_of
from worker.training.job import Job
from worker.training.machine.out_of_memory import is_out_of_memory
from worker.training.machine.process import TrainingRefusal, first_line
from worker.training.models import adapters, lora

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


@dataclass(frozen=True)
class Arithmetic:
    """The device and the precision of a model's computations. Trained weights are always float32."""

    device: torch.device
    precision: torch.dtype

    @classmethod
    def of(cls, recipe: Recipe) -> "Arithmetic":
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        capable = device.type == "cpu" or torch.cuda.is_bf16_supported()
        if recipe.precision == "bfloat16" and not capable:
            raise TrainingRefusal(
                "precision", "recipe.json: precision: this GPU has no bfloat16: set precision to float32"
            )
        automatic = recipe.precision == "auto" and device.type == "cuda" and capable
        low = recipe.precision == "bfloat16" or automatic
        return cls(device, torch.bfloat16 if low else torch.float32)


def ask_for_determinism() -> None:
    """Makes torch compute the same bits for the same input.

    An operation that cannot do so raises on a CPU and warns on a GPU.
    """
    torch.use_deterministic_algorithms(mode=True, warn_only=torch.cuda.is_available())
    # Filling memory before its first use costs time, and nothing here reads such memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def load_tokens(folder: Path) -> Tokens:
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - a folder can be broken in any way
        raise TrainingRefusal(
            "tokenizer",
            f"base_model: the tokenizer in {folder} does not load ({first_line(error)}): add tokenizer.json",
        ) from None
    return Tokens(tokenizer, _generation_config(folder).eos_token_id)


def _generation_config(folder: Path) -> Any:
    if (folder / "generation_config.json").is_file():
        return transformers.GenerationConfig.from_pretrained(folder, local_files_only=True)
    return transformers.GenerationConfig()


def context_length(folder: Path) -> int | None:
    """Returns the number of tokens that the base model was made for, or None if its config has none."""
    length = getattr(_config(folder).get_text_config(decoder=True), "max_position_embeddings", None)
    return int(length) if length else None


def blueprint(folder: Path) -> Any:
    """Returns the model in `folder` without its weights: modules, shapes and names. Raises `TrainingRefusal`."""
    config = _config(folder)
    try:
        with torch.device("meta"):
            return transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - a folder can be broken in any way
        raise _unloadable(folder, error) from None


def vocabulary(folder: Path) -> int:
    """Returns the number of tokens in the embedding of the model in `folder`. Raises `TrainingRefusal`."""
    return int(blueprint(folder).get_input_embeddings().weight.shape[0])


def load_weights(folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """Returns the causal language model in `folder` with all its weights. Raises `TrainingRefusal`."""
    return _load_weights(folder, dtype, device)[0]


def _load_weights(folder: Path, dtype: torch.dtype, device: torch.device) -> tuple[Any, list[str]]:
    """Returns the model and the names of tensors in its files that it does not use."""
    model_folders.require_safetensors(folder)
    try:
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:
        if is_out_of_memory(error):  # no fault of the folder
            raise
        raise _unloadable(folder, error) from None
    broken = sorted(report["missing_keys"]) or sorted(str(key) for key in report["mismatched_keys"])
    if broken:
        raise TrainingRefusal(
            "base_model_incomplete",
            f"base_model: {folder} lacks {len(broken)} weights that its config.json requires, first {broken[0]}: "
            "restore the folder",
        )
    model = model.eval().to(device)
    require_finite_weights(model.state_dict(), folder, "base_model", "restore the folder, or name another model")
    return model, sorted(report["unexpected_keys"])


def _config(folder: Path) -> Any:
    try:
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - a folder can be broken in any way
        raise _unloadable(folder, error) from None


def _unloadable(folder: Path, error: Exception) -> TrainingRefusal:
    if "trust_remote_code" in str(error):
        return TrainingRefusal(
            "remote_code",
            f"base_model: {folder} needs code of its own (auto_map in its config.json), which is never run: name a "
            "model of a type that transformers knows",
        )
    return TrainingRefusal(
        "base_model_unloadable",
        f"base_model: {folder} does not load as a causal language model ({first_line(error)}): "
        "name a folder that transformers' AutoModelForCausalLM can read",
    )


def load_policy(job: Job, arithmetic: Arithmetic) -> Any:
    """Returns the shipped checkpoint; exactly the weights that the recipe trains require gradients, in float32."""
    recipe = job.recipe
    if job.adapter is not None:
        adapters.require_same_tokenizer(job.adapter, job.base)
    if recipe.method == "full":
        model, unused = _load_weights(job.base, torch.float32, arithmetic.device)
        if unused:
            raise TrainingRefusal(
                "base_model_tensors",
                f"base_model: {job.base} holds {len(unused)} tensors that a causal language model of its type does not "
                f"use, first {unused[0]}; full weights would be saved without them: set method to lora, or remove "
                "them from the folder",
            )
        if job.adapter is not None:
            adapted = adapters.load_adapter(model, job.adapter)
            with lora.peft_quiet():
                model = adapted.merge_and_unload()
        return model.requires_grad_().eval()
    model = load_weights(job.base, arithmetic.precision, arithmetic.device)
    if job.adapter is not None:
        return adapters.load_adapter(model, job.adapter, trainable=True)
    with lora.peft_quiet():
        return get_peft_model(model, lora.fresh_config(recipe, lora.unfit_modules(model))).eval()


def router_coefficient(policy: Any) -> float:
    """Returns the weight of the auxiliary loss that keeps a mixture's experts evenly used; 0 for any other model."""
    return coefficient_of(policy)


def trained_weights(policy: Any) -> dict[str, nn.Parameter]:
    """Returns the parameters that the optimizer moves, by name; tied ones once."""
    return {name: weight for name, weight in policy.named_parameters() if weight.requires_grad}


def save_policy(policy: Any, job: Job, tokens: Tokens, folder: Path) -> None:
    """Writes the files to ship into `folder`, with origin.json, which records what the policy was trained from.

    They are the adapter in float32, or the weights in the precision in which the base model is stored.
    """
    origin = {
        "base_fingerprint": job.base_fingerprint,
        "reference_fingerprint": job.adapter_fingerprint or job.base_fingerprint,
        "objective": job.recipe.objective,
        "run_id": job.run_id,
    }
    (folder / "origin.json").write_text(json.dumps(origin, indent=1))
    if job.recipe.method == "lora":
        adapters.save_adapter(policy, folder, job.adapter)
        return
    policy.to(stored_precision(job.base)).save_pretrained(folder)
    tokens.tokenizer.save_pretrained(folder)
    copy_files_beside_weights(job.base, folder)


def stored_precision(folder: Path) -> torch.dtype:
    """Returns the precision in which the model in `folder` is stored, float32 if its config names none."""
    stored = _config(folder).dtype
    return stored if isinstance(stored, torch.dtype) else torch.float32


def copy_files_beside_weights(base: Path, folder: Path) -> None:
    """Copies the tokenizer and the generation settings of `base` as they are: a tokenizer in memory can lose parts of
    its files.
    """
    for path in [*model_folders.tokenizer_files(base), base / "generation_config.json"]:
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
