"""What the ablation turns off, one at a time: `ours` without it, beside `ours`.

A switch is off by what its lane swaps in the trainer's modules during its own turns (a constant, a function), or by the
fields of its recipe.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.train.lane import Swaps


@dataclass(frozen=True)
class Switch:
    name: str
    what: str  # is off
    swaps: Swaps = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)


def read_apart(read: Callable[..., Any]) -> Callable[..., Any]:
    """A `Reading.read` that reads prompts once more for the other completions."""

    def apart(reading: Any, pairs: Any, others: Any = None, *, router_loss: bool = False) -> Any:
        own, _ = read(reading, pairs, router_loss=router_loss)
        if others is None:
            return own, None
        with torch.no_grad():
            return own, read(reading, others)[0]

    return apart


SWITCHES: tuple[Switch, ...] = (
    Switch(
        "packing",
        "packed rows, and prompts read once",
        {"worker.kto.readings:WAYS": lambda ways: tuple(way for way in ways if not way.packed)},
    ),
    Switch("prefix", "prompts read once for both completions", {"worker.kto.logprobs:Reading.read": read_apart}),
    Switch(
        "chunks",
        "the head in chunks",
        {"worker.kto.readings:WAYS": lambda ways: tuple(way for way in ways if not way.chunked)},
    ),
    Switch("bucketing", "blocks of rows of similar length", {"worker.kto.batches:WINDOW": lambda _own: 1}),
)
