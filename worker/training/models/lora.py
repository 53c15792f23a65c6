"""Low-rank adapters: the recipe's, and the checks that it can continue the shipped one. No weights are needed."""

import copy
import json
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig, PeftConfig, get_peft_model
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from thumbwheel.wire.recipe import Recipe
from torch import nn

from worker.training.files import model_folders
from worker.training.machine.process import TrainingRefusal, first_line

#: Number of dimensions of a weight from which it is not a bias or norm.
MATRIX = 2
#: Share of the base model's weights beyond the adapter's reach from which a warning is given.
UNREACHED_SHARE = 0.01


def fresh_config(recipe: Recipe, exclude: Sequence[str] = ()) -> LoraConfig:
    """Returns peft's configuration of the recipe's adapter, without the modules in `exclude` (see `unfit_modules`)."""
    targets = recipe.lora.target_modules
    return LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        use_rslora=recipe.lora.rslora,
        use_dora=recipe.lora.dora,
        target_modules=targets if targets == "all-linear" else list(targets),
        exclude_modules=list(exclude) or None,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )


def read_config(folder: Path) -> PeftConfig:
    """Returns the configuration of the adapter in `folder`. Raises `TrainingRefusal`."""
    try:
        with peft_quiet():
            return PeftConfig.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # noqa: BLE001 - a folder can be broken in any way
        raise TrainingRefusal(
            "adapter_unloadable",
            f"reference: the adapter in {folder} has no readable adapter_config.json ({first_line(error)}): "
            "stage the shipped checkpoint again",
        ) from None


def require_mergeable(shipped: PeftConfig) -> None:
    if not _mergeable(shipped):
        raise TrainingRefusal(
            "adapter_conflict",
            f"recipe.json: method is full, the shipped adapter is of type {_kind(shipped)}, which cannot be merged "
            "into the weights: ship a LoRA adapter or full weights first",
        )


def _mergeable(shipped: PeftConfig) -> bool:
    return hasattr(PEFT_TYPE_TO_TUNER_MAPPING.get(shipped.peft_type), "merge_and_unload")


def require_targets(blueprint: Any, recipe: Recipe) -> set[str]:
    """Returns the names of the modules of the base model that get an adapter. Raises `TrainingRefusal`."""
    targets = recipe.lora.target_modules
    unfit = unfit_modules(blueprint)
    fault = "" if targets == "all-linear" else _fault_of_targets(blueprint, targets, unfit)
    if not fault:
        try:
            return _adapted(copy.deepcopy(blueprint), fresh_config(recipe, unfit))
        except ValueError as error:  # modules of a kind that accepts no adapter
            fault = first_line(error)
    possible, impossible = _possible_targets(blueprint, unfit)
    remedy = f"use {'some' if impossible else 'all-linear, or some'} of {', '.join(possible)}"
    if not possible:
        remedy = "none of its modules accepts an adapter, set method to full"
    elif targets == "all-linear":
        remedy = f"set it to {json.dumps(possible)}, which accept one"
    raise TrainingRefusal("lora_targets", f"recipe.json: lora.target_modules: {fault}: {remedy}")


def _fault_of_targets(blueprint: Any, targets: Sequence[str], unfit: Sequence[str]) -> str:
    """Returns why one of `targets` gets no adapter; an empty string if each gets one."""
    names = [name for name, _ in blueprint.named_modules()]
    for target in targets:
        matches = [name for name in names if name == target or name.endswith(f".{target}")]
        if not matches:
            return f"the base model has no module {target}"
        if set(matches) <= set(unfit):
            return f"{target} of the base model computes no linear product, so it accepts no adapter"
    return ""


def _possible_targets(blueprint: Any, unfit: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the last names of the linear modules that peft accepts, and of those that it rejects."""
    possible, impossible = [], []
    for name in sorted({name.rpartition(".")[2] for name in _linear(blueprint) if name not in unfit}):
        try:
            _adapted(
                copy.deepcopy(blueprint),
                LoraConfig(r=1, target_modules=[name], exclude_modules=list(unfit) or None, task_type="CAUSAL_LM"),
            )
            possible.append(name)
        except ValueError:
            impossible.append(name)
    return possible, impossible


def unfit_modules(model: Any) -> list[str]:
    """Returns the names of modules of a linear class whose code computes something else, so that an adapter cannot fit.

    An example are routers that return several tensors.
    """
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and type(module).forward is not nn.Linear.forward
        and not _computes_a_linear_product(module)
    ]


@torch.no_grad()
def _computes_a_linear_product(module: nn.Linear) -> bool:
    weight = module.weight
    try:
        output = module(torch.zeros(2, module.in_features, dtype=weight.dtype, device=weight.device))
    except Exception:  # noqa: BLE001 - a module of a model can fail in any way
        return False
    return isinstance(output, torch.Tensor) and output.shape == (2, module.out_features)


def unreached(policy: Any) -> tuple[list[str], float]:
    """Returns the matrices that an adapter of all linear modules cannot reach, and their share of the base's weights.

    The largest come first. Embeddings are left out: no adapter is expected to reach them.
    """
    embeddings = {
        weight for module in policy.modules() if isinstance(module, nn.Embedding) for weight in module.parameters()
    }
    head = policy.get_output_embeddings()
    embeddings |= set() if head is None else set(head.parameters())
    total, missed = 0, Counter[str]()
    for name, weight in policy.named_parameters():
        if ".lora_" in name:
            continue
        total += weight.numel()
        if weight.ndim >= MATRIX and ".base_layer." not in name and weight not in embeddings:
            parts = [part for part in name.removesuffix(".weight").split(".") if not part.isdigit()]
            missed[".".join(parts[-2:])] += weight.numel()
    return [name for name, _ in missed.most_common()], missed.total() / total


def warning_of_reach(policy: Any, recipe: Recipe) -> str | None:
    """Returns a message if an adapter of all linear modules leaves at least `UNREACHED_SHARE` of the base untrained."""
    if recipe.method != "lora" or recipe.lora.target_modules != "all-linear":
        return None
    names, share = unreached(policy)
    if share < UNREACHED_SHARE:
        return None
    return (
        f"lora.target_modules is all-linear, but {100 * share:.0f} % of the base model's weights are not in linear "
        f"modules and stay untrained: {', '.join(names)}: set method to full to train them too"
    )


def require_continuable(blueprint: Any, shipped: PeftConfig, recipe: Recipe, targets: set[str]) -> None:
    """Raises `TrainingRefusal` unless the recipe describes the shipped adapter, which training continues as it is.

    `targets` are the modules that `require_targets` returned; `blueprint`, the base model's, is consumed.
    """
    if not isinstance(shipped, LoraConfig):
        remedy = "set method to full" if _mergeable(shipped) else "ship a LoRA adapter or full weights first"
        raise TrainingRefusal(
            "adapter_conflict",
            f"recipe.json: method is lora, the shipped adapter is of type {_kind(shipped)}: {remedy}",
        )
    model_folders.require_same_lora(recipe, vars(shipped))
    try:
        shipped_targets = _adapted(blueprint, shipped)
    except ValueError as error:
        raise model_folders.misfit(first_line(error)) from None
    if shipped_targets != targets:
        names = sorted({name.rpartition(".")[2] for name in shipped_targets})
        raise TrainingRefusal(
            "adapter_conflict",
            f"recipe.json: lora.target_modules differs from the shipped adapter's, which are {names}: "
            "set lora.target_modules to these, or method to full to merge the adapter",
        )


@contextmanager
def peft_quiet() -> Iterator[None]:
    """Silences warnings of peft about cases that are handled.

    They are an attribute that transformers 5 has renamed, a setting that peft corrects itself, and the faults that
    `adapters.load_adapter` checks and refuses.
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
    """Returns the names of the modules that get an adapter. Raises ValueError for a target that accepts none."""
    config = copy.deepcopy(config)  # peft modifies it
    config.base_model_name_or_path = None
    with peft_quiet():
        policy = get_peft_model(model, config)
    return {
        name.removeprefix("base_model.model.") for name, module in policy.named_modules() if hasattr(module, "lora_A")
    }


def _linear(model: Any) -> list[str]:
    """Returns the names of the linear modules without the head."""
    head = model.get_output_embeddings()
    kinds = nn.Linear | transformers.pytorch_utils.Conv1D
    return [name for name, module in model.named_modules() if isinstance(module, kinds) and module is not head]


def _kind(config: PeftConfig) -> str:
    return getattr(config.peft_type, "value", str(config.peft_type))
