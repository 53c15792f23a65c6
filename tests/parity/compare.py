"""How far two trainers' figures are apart.

A number: |ours − theirs| / |theirs|. A gradient: ‖ours − theirs‖₂ / ‖theirs‖₂ for each tensor, and of these the
largest. The norm of a tensor is the measure, not its single elements: an element that is nearly zero is a difference of
large numbers, has no correct digits in float32, and moves the weights as little as it weighs in the norm.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn


@dataclass(frozen=True)
class Figures:
    """What one side computes for one micro-batch."""

    numbers: Mapping[str, float]
    gradients: Mapping[str, Tensor]


class Compared(NamedTuple):
    ours: float
    theirs: float
    relative: float


Table = dict[str, Compared]


def number(ours: float, theirs: float) -> Compared:
    return Compared(ours, theirs, _share(abs(ours - theirs), abs(theirs)))


def gradient(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Compared:
    """Both norms over all weights, with the relative difference of the worst tensor."""
    assert ours.keys() == theirs.keys(), "both sides have to train the same weights"
    apart = [_share(_norm(ours[name].double() - theirs[name].double()), _norm(theirs[name])) for name in ours]
    return Compared(_norm(*ours.values()), _norm(*theirs.values()), _largest(apart))


def whole_gradient(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Compared:
    """Both norms over all weights, with the relative difference of all weights together."""
    apart = _norm(*(ours[name].double() - theirs[name].double() for name in theirs))
    norm = _norm(*theirs.values())
    return Compared(_norm(*ours.values()), norm, _share(apart, norm))


def table(ours: Figures, theirs: Figures) -> Table:
    """Every number, and `gradient`."""
    assert ours.numbers.keys() == theirs.numbers.keys(), "both sides have to give the same figures"
    compared = {name: number(ours.numbers[name], theirs.numbers[name]) for name in ours.numbers}
    return compared | {"gradient": gradient(ours.gradients, theirs.gradients)}


def both_ways(padded: Figures, packed: Figures, theirs: Figures) -> Table:
    """`table` of rows that are padded, as theirs are, and under names that begin with `packed` every number and the
    gradient of rows that are packed, as we train. Packed sums run in another order, so a small tensor is rounded
    otherwise: there the whole gradient is compared.
    """
    numbers = {f"packed {name}": number(packed.numbers[name], theirs.numbers[name]) for name in theirs.numbers}
    gradients = {"packed gradient": whole_gradient(packed.gradients, theirs.gradients)}
    return table(padded, theirs) | numbers | gradients


def worst(*tables: Table) -> float:
    """The largest relative difference of all; NaN where one is."""
    return _largest([compared.relative for one in tables for compared in one.values()])


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Of every trained weight, tied ones once; zeros where none has arrived."""
    return {
        name: weight.new_zeros(weight.shape) if weight.grad is None else weight.grad.detach().clone()
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }


def _share(difference: float, whole: float) -> float:
    return 0.0 if difference == 0 else difference / whole if whole else math.nan


def _norm(*tensors: Tensor) -> float:
    return math.sqrt(sum(float(tensor.double().square().sum()) for tensor in tensors))


def _largest(values: list[float]) -> float:
    return math.nan if any(math.isnan(value) for value in values) else max(values)
