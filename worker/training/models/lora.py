"""Low-rank adapters: the recipe's, and whether it can continue the shipped one. Everything is known without weights."""

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
from torch import nn

from app.runs.recipe import Recipe
from worker.training.files import model_folders
from worker.training.machine.process import Refusal, first_line

#: Dimensions from which a weight is no bias or norm.
MATRIX = 2
#: Weights beyond the adapter's reach are said from this share of the base model's on.
UNREACHED_SHARE = 0.01


def fresh_config(recipe: Recipe, exclude: Sequence[str] = ()) -> LoraConfig:
    """Returns peft's configuration of the recipe's adapter. `exclude`: modules that get none, see `unfit_modules`."""
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
    """Returns the names of the modules of the base model that get an adapter. Raises `Refusal`."""
    targets = recipe.lora.target_modules
    unfit = unfit_modules(blueprint)
    fault = "" if targets == "all-linear" else _fault_of_targets(blueprint, targets, unfit)
    if not fault:
        try:
            return _adapted(copy.deepcopy(blueprint), fresh_config(recipe, unfit))
        except ValueError as error:  # modules of a kind that takes no adapter
            fault = first_line(error)
    possible, impossible = _possible_targets(blueprint, unfit)
    remedy = f"take {'some' if impossible else 'all-linear, or some'} of {', '.join(possible)}"
    if not possible:
        remedy = "none of its modules takes an adapter, set method to full"
    elif targets == "all-linear":
        remedy = f"set it to {json.dumps(possible)}, which take one"
    raise Refusal("lora_targets", f"recipe.json: lora.target_modules: {fault}: {remedy}")


def _fault_of_targets(blueprint: Any, targets: Sequence[str], unfit: Sequence[str]) -> str:
    """Returns why one of `targets` gets no adapter; an empty text where each gets one."""
    names = [name for name, _ in blueprint.named_modules()]
    for target in targets:
        meant = [name for name in names if name == target or name.endswith(f".{target}")]
        if not meant:
            return f"the base model has no module {target}"
        if set(meant) <= set(unfit):
            return f"{target} of the base model computes no linear product, so it takes no adapter"
    return ""


def _possible_targets(blueprint: Any, unfit: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the last names of linear modules that peft takes, and of those that it does not take."""
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
    """Returns the names of modules of a linear class whose code computes something else, such as routers that return
    several tensors: what an adapter adds to a linear product does not fit them.
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
    """Returns the matrices that an adapter of all linear modules cannot reach, the largest first, and their share of
    the base model's weights. Embeddings are left out: they are not meant to be reached.
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
    """Returns a message where the adapter of all linear modules leaves a fair share of the base model as it is."""
    if recipe.method != "lora" or recipe.lora.target_modules != "all-linear":
        return None
    names, share = unreached(policy)
    if share < UNREACHED_SHARE:
        return None
    return (
        f"lora.target_modules is all-linear, but {100 * share:.0f} % of the base model's weights are no linear modules "
        f"and stay as they are: {', '.join(names)}: set method to full to train them too"
    )


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
    model_folders.require_same_lora(recipe, vars(shipped))
    try:
        there_names = _adapted(blueprint, shipped)
    except ValueError as error:
        raise model_folders.misfit(first_line(error)) from None
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
