"""Relative differences between the figures of two trainers.

For a number: |ours − theirs| / |theirs|. For a gradient: the largest of ‖ours − theirs‖₂ / ‖theirs‖₂ over its tensors.
Tensors are compared by norm and not by element: an element near zero is a difference of large numbers, has no correct
digits in float32, and moves the weights as little as it counts in the norm.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn


@dataclass(frozen=True)
class Figures:
    """The results of one side for one micro-batch."""

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
    """Returns both norms over all weights with the relative difference of the worst tensor."""
    assert ours.keys() == theirs.keys(), "both sides must train the same weights"
    differences = [_share(_norm(ours[name].double() - theirs[name].double()), _norm(theirs[name])) for name in ours]
    return Compared(_norm(*ours.values()), _norm(*theirs.values()), _largest(differences))


def whole_gradient(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Compared:
    """Returns both norms over all weights with the relative difference of all weights together."""
    difference = _norm(*(ours[name].double() - theirs[name].double() for name in theirs))
    norm = _norm(*theirs.values())
    return Compared(_norm(*ours.values()), norm, _share(difference, norm))


def table(ours: Figures, theirs: Figures) -> Table:
    """Compares every number, and the gradients as `gradient`."""
    assert ours.numbers.keys() == theirs.numbers.keys(), "both sides must report the same figures"
    compared = {name: number(ours.numbers[name], theirs.numbers[name]) for name in ours.numbers}
    return compared | {"gradient": gradient(ours.gradients, theirs.gradients)}


def both_ways(padded: Figures, packed: Figures, theirs: Figures) -> Table:
    """Compares our padded rows and our packed rows with theirs, which are padded; the names of the packed figures
    begin with `packed`. Packed sums run in another order, so small tensors are rounded differently: the gradient of
    packed rows is compared as a whole.
    """
    numbers = {f"packed {name}": number(packed.numbers[name], theirs.numbers[name]) for name in theirs.numbers}
    gradients = {"packed gradient": whole_gradient(packed.gradients, theirs.gradients)}
    return table(padded, theirs) | numbers | gradients


def worst(*tables: Table) -> float:
    """Returns the largest relative difference of all tables, or NaN if any difference is NaN."""
    return _largest([compared.relative for each in tables for compared in each.values()])


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Returns the gradient of every trained weight, tied ones once; zeros for a weight without gradient."""
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
