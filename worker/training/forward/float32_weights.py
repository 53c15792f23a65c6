"""Reads a model's 16-bit weights in float32 temporarily, with bounded memory.

Weights outside of the decoder layers (embeddings, norms, the head) are float32 throughout, those of a decoder layer
only while that layer runs. An 8-billion-parameter model thus needs a few gigabytes more, not 32. The model's own
tensors are set aside and put back: they are neither copied nor rounded.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from worker.training.forward.layers import decoder_layers, forwards

LOW = (torch.bfloat16, torch.float16)


@contextmanager
def weights_in_float32(model: nn.Module) -> Iterator[None]:
    """Makes frozen 16-bit weights and buffers of `model` act as float32 in the block.

    Gradients need `Reading.recomputing`, as the backward pass of a layer has to run with that layer's float32 weights.
    """
    layers = decoder_layers(model)
    inside = {module for layer in layers for module in layer.modules()}
    outside = [module for module in model.modules() if module not in inside]
    low = {layer: [module for module in layer.modules() if any(_low_tensors(module))] for layer in layers}
    wrapped = {layer: partial(_forward, modules, layer.forward) for layer, modules in low.items() if modules}
    with _float32(outside), forwards(wrapped):
        yield


def _forward(modules: Sequence[nn.Module], forward: Callable[..., Any], *args: Any, **named: Any) -> Any:
    with _float32(modules):
        return forward(*args, **named)


def _low_tensors(module: nn.Module) -> Iterator[tuple[dict[str, Any], str, Tensor]]:
    tensors: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
    for owner in tensors:
        for name, tensor in owner.items():
            if tensor is not None and tensor.dtype in LOW:
                yield owner, name, tensor


@contextmanager
def _float32(modules: Iterable[nn.Module]) -> Iterator[None]:
    before: list[tuple[dict[str, Any], str, Tensor]] = []
    copies: dict[int, Tensor] = {}  # tied weights share a copy
    try:
        for owner, name, tensor in [found for module in modules for found in _low_tensors(module)]:
            if id(tensor) not in copies:
                copies[id(tensor)] = _copy(tensor)
            before.append((owner, name, tensor))
            owner[name] = copies[id(tensor)]
        yield
    finally:
        for owner, name, tensor in before:
            owner[name] = tensor


def _copy(tensor: Tensor) -> Tensor:
    copied = tensor.detach().float()
    return nn.Parameter(copied, requires_grad=False) if isinstance(tensor, nn.Parameter) else copied
