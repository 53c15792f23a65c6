"""Tells what a target would refuse to load: of a recipe before it is trained, of an adapter before it is sent. Pure.

vLLM answers 500 to an adapter with DoRA, a rank over its maximum, modules_to_save or a bias, and SGLang loads none of
these either. An adapter whose start changes the base model's weights does not fit the base model that a server has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thumbwheel.wire.recipe import Recipe
from thumbwheel.wire.serving import LoraServerSettings, TargetSettings

from app.serving.served_artifact import ArtifactKind

#: Initialisations of an adapter that also change the weights of the base model.
CHANGES_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass(frozen=True)
class RecipeRefusal:
    """A field of a recipe for which a target would refuse the checkpoint. `pointer`: a JSON pointer into the recipe."""

    pointer: str
    message: str


def refusals_of_recipe(recipe: Recipe, target: str, settings: TargetSettings) -> list[RecipeRefusal]:
    """Returns why the target would refuse what the recipe trains."""
    if not isinstance(settings, LoraServerSettings):
        return []
    if recipe.method == "full":
        if settings.full_weights == "by_restart":
            return []
        return [
            RecipeRefusal(
                "/method",
                f"is full, and target {target} loads adapters alone: set method to lora, or the target's full_weights "
                "to by_restart",
            )
        ]
    found = []
    if recipe.lora.dora:
        found.append(
            RecipeRefusal(
                "/lora/dora", f"is true, and target {target} ({settings.kind}) loads no DoRA: set lora.dora to false"
            )
        )
    if recipe.lora.rank > settings.max_lora_rank:
        found.append(
            RecipeRefusal(
                "/lora/rank",
                f"is {recipe.lora.rank}, and target {target} loads {settings.max_lora_rank} at most: lower lora.rank, "
                "or start the server with a larger --max-lora-rank and set the target's max_lora_rank to it",
            )
        )
    return found


def sentences(refusals: Sequence[RecipeRefusal]) -> list[str]:
    """Returns each refusal as a sentence that begins with the name of its field."""
    return [f"{refusal.pointer[1:].replace('/', '.')} {refusal.message}" for refusal in refusals]


def reasons_against_adapter(config: Mapping[str, Any], settings: TargetSettings) -> list[str]:
    """Returns why the target would refuse an adapter.

    config  the content of its adapter_config.json
    """
    if not isinstance(settings, LoraServerSettings):
        return []
    ranks = [config.get("r") or 0, *(config.get("rank_pattern") or {}).values()]
    kind = config.get("peft_type", "LORA")
    start = str(config.get("init_lora_weights"))
    checks = {
        f"it is of type {kind}, not LORA": kind != "LORA",
        "it has DoRA": bool(config.get("use_dora")),
        f"its rank is {max(ranks)}, more than max_lora_rank {settings.max_lora_rank}": max(ranks)
        > settings.max_lora_rank,
        "it has whole modules (modules_to_save)": bool(config.get("modules_to_save")),
        "it has biases": (config.get("bias") or "none") != "none" or bool(config.get("lora_bias")),
        "it has rows of an embedding (trainable_token_indices)": bool(config.get("trainable_token_indices")),
        f"its start ({start}) changes the base model's weights": start.lower().startswith(CHANGES_THE_BASE),
    }
    return [reason for reason, applies in checks.items() if applies]


def reason_against_weights(settings: TargetSettings) -> str | None:
    """Returns why the target refuses full weights, or None if it takes them."""
    if isinstance(settings, LoraServerSettings) and settings.full_weights == "refused":
        return "it has full weights, and this target loads adapters alone: set its full_weights to by_restart"
    return None


def reason_to_leave_out(settings: TargetSettings, kind: ArtifactKind | None = None) -> str | None:
    """Returns why the target does not load a canary of this kind, or of any kind; None if it loads it."""
    if settings.canaries == "left_out":
        return "the target leaves canaries out (canaries)"
    if isinstance(settings, LoraServerSettings) and kind == "weights":
        return "it has full weights, and this server cannot hold two models with full weights"
    return None


#: Adapters at a server while there is a canary and another model drains.
MOST_AT_ONCE = 3


def notices_of_slots(settings: TargetSettings) -> list[str]:
    """Returns what does not fit into the server while there is a canary."""
    if not isinstance(settings, LoraServerSettings) or settings.canaries == "left_out" or settings.max_loras is None:
        return []
    needed = MOST_AT_ONCE if settings.drain_seconds else MOST_AT_ONCE - 1
    if settings.max_loras >= needed:
        return []
    return [
        f"max_loras is {settings.max_loras}, and {needed} adapters may be loaded at once: the live one, a canary"
        + (" and one that drains" if settings.drain_seconds else "")
        + f": start the server with --max-loras {needed} or more and set the target's max_loras to it, or set canaries "
        "to left_out"
    ]
