"""Refuses weights that are NaN or infinite before training, by file and tensor: no learning rate repairs them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from worker.training.machine.process import TrainingRefusal


class Broken(NamedTuple):
    """A tensor of a safetensors file with numbers that are not finite."""

    file: Path
    name: str
    numbers: int
    of: int


def require_finite_weights(weights: Mapping[str, Tensor], folder: Path, field: str, remedy: str) -> None:
    """Raises `TrainingRefusal` if one of `weights`, loaded from `folder`, is NaN or infinite.

    field    the operator's name for the folder: base_model or reference
    """
    names = [name for name, weight in weights.items() if not is_finite(weight)]
    if not names:
        return
    broken = next(_broken(folder), None)
    if broken is None:  # finite in the file, but out of range in the precision of the run
        raise TrainingRefusal(
            "weights_not_finite",
            f"{field}: the weight {names[0]} from {folder} is infinite in the precision of this run: set precision to "
            "float32",
        )
    raise TrainingRefusal(
        "weights_not_finite",
        f"{field}: the tensor {broken.name} in {broken.file} holds {broken.numbers} of {broken.of} numbers that are "
        f"NaN or infinite: {remedy}",
    )


def is_finite(weight: Tensor) -> bool:
    """Returns whether all numbers of `weight` are finite. It reads the tensor once and stores nothing."""
    if not weight.is_floating_point() or weight.is_meta or not weight.numel():
        return True
    return bool(torch.stack(torch.aminmax(weight)).isfinite().all())


def _broken(folder: Path) -> Iterator[Broken]:
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is not a mapping
                tensor = file.get_tensor(name)
                if tensor.is_floating_point() and not bool((finite := tensor.isfinite()).all()):
                    yield Broken(path, name, int((~finite).sum()), tensor.numel())
