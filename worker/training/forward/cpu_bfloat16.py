"""Matrix products in bfloat16 on a CPU that has no instructions for them.

There such a product takes three to five times as long as one in float32 (docs/lab-notes.md). So the rounded numbers
are multiplied as float32. That says the same: a product of two bfloat16 numbers is exact in float32, the sums are
float32 in either case, and the result is rounded as it would be.

Legend: I inputs, O outputs of a linear layer.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from worker.training.forward.layers import forwards


@cache
def lacks_bfloat16(device: torch.device) -> bool:
    """Whether this is a CPU that is known to have no instructions for bfloat16."""
    told = getattr(torch.cpu, "get_capabilities", None)  # older versions of torch do not tell
    return device.type == "cpu" and told is not None and not any(v for name, v in told().items() if "bf16" in name)


def linear_layers(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if type(module) in (nn.Linear, Conv1D)]


@contextmanager
def multiplied_as_float32(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Forwards of these linear layers in the block take and give bfloat16; their way back does, too."""
    with forwards({layer: partial(_product, layer) for layer in layers}):
        yield


def _product(layer: Any, given: Tensor) -> Tensor:
    weight_OI = layer.weight.t() if isinstance(layer, Conv1D) else layer.weight
    found: Tensor = _Product.apply(given, weight_OI, layer.bias)
    return found


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, given: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        rounded = given.bfloat16()
        with torch.autocast(given.device.type, enabled=False):
            found = rounded.float() @ rounded_weight(weight_OI).t()
        if bias_O is not None:
            found += bias_O.bfloat16()
        ctx.dtype = given.dtype
        ctx.save_for_backward(rounded if ctx.needs_input_grad[1] else None, weight_OI)
        return found.bfloat16()

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        rounded, weight_OI = ctx.saved_tensors
        by_given, by_weight, by_bias = ctx.needs_input_grad
        above = above.float()
        flat = above.flatten(0, -2)
        return (
            (above @ rounded_weight(weight_OI)).bfloat16().to(ctx.dtype) if by_given else None,
            (flat.t() @ rounded.flatten(0, -2).float()).to(weight_OI.dtype) if by_weight else None,
            flat.sum(0) if by_bias else None,
        )


def rounded_weight(weight: Tensor) -> Tensor:
    """To bfloat16, as float32."""
    return weight.detach().bfloat16().float()
