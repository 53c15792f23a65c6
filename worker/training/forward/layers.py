"""A model's decoder layers, and ways of running them that cost less: the last one's feed-forward part only where it
counts, and recomputed on the way back, which takes less memory and one more forward.

Legend: T tokens, P of them counted, H hidden size.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from worker.training.forward.attention import current_layout, laid_out


def decoder_layers(model: nn.Module) -> list[nn.Module]:
    """What transformers itself would recompute: the blocks that are stacked."""
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


@contextmanager
def forwards(of: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """These modules run so in the block, and afterwards as before it; blocks may lie in one another."""
    before = {module: vars(module).get("forward") for module in of}
    for module, forward in of.items():
        module.forward = forward
    try:
        yield
    finally:
        for module, earlier in before.items():
            if earlier is None:
                del module.forward
            else:
                module.forward = earlier


@contextmanager
def last_feed_forward_at(layers: Sequence[nn.Module], places_P: Tensor) -> Iterator[None]:
    """Forwards of one sequence in the block compute the last layer's feed-forward part at these places alone, in
    ascending order; elsewhere it adds nothing.

    Behind it nothing mixes tokens, so what the model says at these places is the same. A model that calls that part
    otherwise is left as it is.
    """
    part = getattr(layers[-1], "mlp", None) if layers else None
    if not isinstance(part, nn.Module) or "forward" in vars(part):
        yield
        return
    whole = part.forward

    def forward(hidden_BTH: Tensor) -> Any:
        found = whole(hidden_BTH.index_select(1, places_P))
        if not isinstance(found, Tensor):  # experts that tell of their routing, too
            return whole(hidden_BTH)
        return found.new_zeros((*hidden_BTH.shape[:-1], found.shape[-1])).index_copy(1, places_P, found)

    with forwards({part: forward}):
        yield


@contextmanager
def recomputing(layers: Sequence[nn.Module], around: Callable[[], Any]) -> Iterator[None]:
    """Forwards in the block keep of each layer what it was given, and nothing else; the way back computes the layer
    again, inside of `around()`.

    transformers does this for models in training mode alone, in which dropout is on.
    """
    with forwards({layer: partial(_recomputed, layer.forward, around) for layer in layers}):
        yield


def _recomputed(forward: Callable[..., Any], around: Callable[[], Any], *args: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **named)
    layout = current_layout()

    def again(*args: Any, **named: Any) -> Any:
        with laid_out(layout), around():
            return forward(*args, **named)

    return checkpoint(again, *args, use_reentrant=False, preserve_rng_state=False, **named)
