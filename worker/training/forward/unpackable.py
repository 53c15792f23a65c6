"""Recognises models whose rows cannot be packed into one sequence, by their type or by their parts.

Packing replaces attention and nothing else. Any other part that mixes tokens carries one row into the next:
convolutions, state spaces, linear attention. Attention that adds a term of its own to the scores loses it: sinks,
ALiBi. The comparison with single rows finds these too, but a known case need not be tried.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

STATES = "its state spaces carry a state from row to row"
CONVOLUTIONS = "its convolutions mix tokens of neighbouring rows"
LINEAR = "its linear attention carries a state from row to row"
ALIBI = "its attention is biased by distance (ALiBi), which packed attention does not know"
SINKS = "its attention has sinks, which packed attention does not know"

#: By the type that config.json names.
TYPES: Mapping[str, str] = {
    **dict.fromkeys(
        ("bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid", "jamba", "mamba", "mamba2", "nemotron_h", "zamba",
         "zamba2"), STATES,
    ),
    **dict.fromkeys(("lfm2", "lfm2_moe", "lfm3"), CONVOLUTIONS),
    **dict.fromkeys(
        ("kimi_linear", "minimax", "olmo_hybrid", "qwen3_5_moe_text", "qwen3_5_text", "qwen3_next", "recurrent_gemma",
         "rwkv", "xlstm"), LINEAR,
    ),
    **dict.fromkeys(("bloom", "mpt"), ALIBI),
    **dict.fromkeys(("gpt_oss",), SINKS),
}  # fmt: skip

#: Kinds of layers that attend, by the names that configs have for them.
ATTENDING = frozenset({"attention", "full_attention", "sliding_attention", "chunked_attention"})


def reason_to_pad(model: Any) -> str | None:
    """Returns why rows of `model` must not be packed, or None if no reason is known."""
    for config in _configs(model):
        if reason := TYPES.get(getattr(config, "model_type", "")):
            return reason
        if getattr(config, "alibi", False) or getattr(config, "position_embedding_type", None) == "alibi":
            return ALIBI
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv1d):
            return f"{CONVOLUTIONS} ({name})"
        if getattr(module, "sinks", None) is not None:
            return f"{SINKS} ({name})"
    return None


def layers_of(model: Any) -> int:
    """Returns the number of layers in the config of `model`."""
    config = model.config.get_text_config(decoder=True)
    return int(getattr(config, "num_hidden_layers", 0) or 0)


def has_experts(model: Any) -> bool:
    return any(name.rpartition(".")[2] == "experts" for name, _ in model.named_modules())


def _configs(model: Any) -> Iterator[Any]:
    seen: set[int] = set()
    for module in model.modules():
        config = getattr(module, "config", None)
        if config is not None and id(config) not in seen:
            seen.add(id(config))
            yield config
