"""The switches of the ablation, which compares `ours` with each of them off to `ours`.

A lane turns a switch off by swapping a constant or a function in the trainer's modules during its own turns, or by
fields of its recipe.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.train.lane import Swaps
from worker.training.forward.logprobs import Inputs


@dataclass(frozen=True)
class Switch:
    name: str
    what: str  # the feature that it turns off
    swaps: Swaps = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)


def apart(inputs: Callable[..., Inputs]) -> Callable[..., Inputs]:
    """Returns a `Reading.inputs` that reads the prompts once more for the other completions."""

    def of(reading: Any, pairs: Any, others: Any = None) -> Inputs:
        own, _ = inputs(reading, pairs)
        return Inputs(own, None if others is None else inputs(reading, others).own)

    return of


def not_fused(adamw: Callable[..., torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    def unfused(*arguments: Any) -> torch.optim.Optimizer:
        optimizer = adamw(*arguments)
        for group in optimizer.param_groups:
            group["fused"] = False
        return optimizer

    return unfused


SWITCHES: tuple[Switch, ...] = (
    Switch(
        "packing",
        "packed rows, prompts read once",
        {"worker.training.forward.packed_or_padded:reason_to_pad": lambda _own: lambda _model: "it is switched off"},
    ),
    Switch(
        "prefix",
        "prompts read once for both completions",
        {"worker.training.forward.logprobs:Reading.inputs": apart},
    ),
    Switch(
        "chunks",
        "the head in chunks",
        {"worker.training.forward.packed_or_padded:_Trial._head_is_linear": lambda _own: lambda _trial, _pair: False},
    ),
    Switch(
        "kept",
        "logits of a trained head kept for the backward pass",
        {"worker.training.forward.head:KEPT_VOCABULARY": lambda _own: 0},
    ),
    Switch(
        "last",
        "the last feed-forward part only at completions",
        {"worker.training.forward.logprobs:last_feed_forward_at": lambda _own: lambda _layers, _places: nullcontext()},
    ),
    Switch(
        "products",
        "bfloat16 multiplied as float32 on a CPU without it",
        {
            "worker.training.forward.logprobs:lacks_bfloat16": lambda _own: lambda _device: False,
            "worker.training.forward.head:lacks_bfloat16": lambda _own: lambda _device: False,
        },
    ),
    Switch(
        "ahead",
        "micro-batches prepared ahead",
        {
            "worker.training.train:prepared_ahead": lambda _own: (
                lambda prepare, items, **_: (prepare(item) for item in items)
            )
        },
    ),
    Switch("fused", "AdamW in one pass", {"worker.training.adamw:adamw": not_fused}),
    Switch("bucketing", "blocks of rows of similar length", {"worker.training.data.batches:WINDOW": lambda _own: 1}),
)
