"""Matrix products in bfloat16 on a CPU that has no instructions for them.

Such a CPU takes three to five times as long for a product in bfloat16 as for one in float32 (docs/lab-notes.md), so
the rounded numbers are multiplied as float32. The result is the same: a product of two bfloat16 numbers is exact in
float32, the sums are float32 in either case, and the rounding at the end is the same.

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
    """Returns whether `device` is a CPU that is known to have no instructions for bfloat16."""
    query = getattr(torch.cpu, "get_capabilities", None)  # missing in older versions of torch
    return device.type == "cpu" and query is not None and not any(v for name, v in query().items() if "bf16" in name)


def linear_layers(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if type(module) in (nn.Linear, Conv1D)]


@contextmanager
def multiplied_as_float32(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Makes these linear layers take and return bfloat16 in the block, in the forward and the backward pass."""
    with forwards({layer: partial(_product, layer) for layer in layers}):
        yield


def _product(layer: Any, inputs: Tensor) -> Tensor:
    weight_OI = layer.weight.t() if isinstance(layer, Conv1D) else layer.weight
    product: Tensor = _Product.apply(inputs, weight_OI, layer.bias)
    return product


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        rounded = inputs.bfloat16()
        with torch.autocast(inputs.device.type, enabled=False):
            product = rounded.float() @ rounded_weight(weight_OI).t()
        if bias_O is not None:
            product += bias_O.bfloat16()
        ctx.dtype = inputs.dtype
        ctx.save_for_backward(rounded if ctx.needs_input_grad[1] else None, weight_OI)
        return product.bfloat16()

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        rounded, weight_OI = ctx.saved_tensors
        by_inputs, by_weight, by_bias = ctx.needs_input_grad
        above = above.float()
        flat = above.flatten(0, -2)
        return (
            (above @ rounded_weight(weight_OI)).bfloat16().to(ctx.dtype) if by_inputs else None,
            (flat.t() @ rounded.flatten(0, -2).float()).to(weight_OI.dtype) if by_weight else None,
            flat.sum(0) if by_bias else None,
        )


def rounded_weight(weight: Tensor) -> Tensor:
    """Returns the weight rounded to bfloat16, as float32."""
    return weight.detach().bfloat16().float()
