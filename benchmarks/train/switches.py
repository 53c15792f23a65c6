"""What the ablation turns off, one at a time: `ours` without it, beside `ours`.

A switch is off by what its lane swaps in the trainer's modules during its own turns (a constant, a function), or by the
fields of its recipe.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.train.lane import Swaps


@dataclass(frozen=True)
class Switch:
    name: str
    what: str  # is off
    swaps: Swaps = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)


SWITCHES: tuple[Switch, ...] = (
    Switch("bucketing", "blocks of rows of similar length", swaps={"worker.kto.batches:WINDOW": lambda _: 1}),
)
