"""Low-rank adapters: the recipe's, and whether it can continue the shipped one. Everything is known without weights."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transformers
from peft import LoraConfig, PeftConfig, get_peft_model
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from torch import nn

from app.runs.recipe import Recipe
from worker.kto import folders
from worker.kto.process import Refusal, first_line


def fresh_config(recipe: Recipe) -> LoraConfig:
    targets = recipe.lora.target_modules
    return LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        use_rslora=recipe.lora.rslora,
        use_dora=recipe.lora.dora,
        target_modules=targets if targets == "all-linear" else list(targets),
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )


def read_config(folder: Path) -> PeftConfig:
    """Of the adapter in `folder`. Raises `Refusal`."""
    try:
        with peft_quiet():
            return PeftConfig.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # noqa: BLE001 - a folder can be broken in any way
        raise Refusal(
            "adapter_unloadable",
            f"reference: the adapter in {folder} has no readable adapter_config.json ({first_line(error)}): "
            "stage the shipped checkpoint again",
        ) from None


def require_mergeable(shipped: PeftConfig) -> None:
    if not _mergeable(shipped):
        raise Refusal(
            "adapter_conflict",
            f"recipe.json: method is full, the shipped adapter is of type {_kind(shipped)}, which cannot be merged "
            "into the weights: ship a LoRA adapter or full weights first",
        )


def _mergeable(shipped: PeftConfig) -> bool:
    return hasattr(PEFT_TYPE_TO_TUNER_MAPPING.get(shipped.peft_type), "merge_and_unload")


def require_targets(blueprint: Any, recipe: Recipe) -> set[str]:
    """Names of the modules of the base model that get an adapter. `blueprint` is used up."""
    targets = recipe.lora.target_modules
    names = [name for name, _ in blueprint.named_modules()]
    linear = ", ".join(sorted({name.rpartition(".")[2] for name in _linear(blueprint)}))
    missing = [
        target
        for target in (() if targets == "all-linear" else targets)
        if not any(name == target or name.endswith(f".{target}") for name in names)
    ]
    fault = f"the base model has no module {missing[0]}" if missing else ""
    if not fault:
        try:
            return _adapted(blueprint, fresh_config(recipe))
        except ValueError as error:  # modules of a kind that takes no adapter
            fault = first_line(error)
    raise Refusal("lora_targets", f"recipe.json: lora.target_modules: {fault}: take all-linear, or some of {linear}")


def require_continuable(blueprint: Any, shipped: PeftConfig, recipe: Recipe, targets: set[str]) -> None:
    """The shipped adapter is trained on as it is, so the recipe has to describe it. `targets`: what `require_targets`
    found; `blueprint`, the base model's, is used up.
    """
    if not isinstance(shipped, LoraConfig):
        remedy = "set method to full" if _mergeable(shipped) else "ship a LoRA adapter or full weights first"
        raise Refusal(
            "adapter_conflict",
            f"recipe.json: method is lora, the shipped adapter is of type {_kind(shipped)}: {remedy}",
        )
    folders.require_same_lora(recipe, vars(shipped))
    try:
        there_names = _adapted(blueprint, shipped)
    except ValueError as error:
        raise folders.misfit(first_line(error)) from None
    if there_names != targets:
        names = sorted({name.rpartition(".")[2] for name in there_names})
        raise Refusal(
            "adapter_conflict",
            f"recipe.json: lora.target_modules differs from the shipped adapter's, which are {names}: "
            "set lora.target_modules to these, or method to full to merge the adapter",
        )


@contextmanager
def peft_quiet() -> Iterator[None]:
    """Silences warnings of peft: of an attribute that transformers 5 has renamed, of a setting that it mends itself,
    and of what `adapters.load_adapter` checks and refuses.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        for checked in (
            "Found missing adapter keys",
            "Unexpected keyword arguments",
            "Model has `tie_word_embeddings",
            "Input and output embeddings are no longer tied",
        ):
            warnings.filterwarnings("ignore", message=checked, category=UserWarning)
        yield


def _adapted(model: Any, config: LoraConfig) -> set[str]:
    """Names of the modules that get an adapter. Raises ValueError where a target is none."""
    config = copy.deepcopy(config)  # which peft fills in
    config.base_model_name_or_path = None
    with peft_quiet():
        policy = get_peft_model(model, config)
    return {
        name.removeprefix("base_model.model.") for name, module in policy.named_modules() if hasattr(module, "lora_A")
    }


def _linear(model: Any) -> list[str]:
    """Linear modules without the head."""
    head = model.get_output_embeddings()
    kinds = nn.Linear | transformers.pytorch_utils.Conv1D
    return [name for name, module in model.named_modules() if isinstance(module, kinds) and module is not head]


def _kind(config: PeftConfig) -> str:
    return getattr(config.peft_type, "value", str(config.peft_type))
