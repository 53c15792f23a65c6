"""A model's decoder layers, and cheaper ways of running them.

The last layer's feed-forward part can be computed at counted tokens alone. Layers can be recomputed in the backward
pass, which takes less memory and one more forward.

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
    """Returns the stacked blocks of `model`, which transformers itself would recompute."""
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


@contextmanager
def forwards(of: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Replaces the forwards of these modules in the block and restores them afterwards; blocks may be nested."""
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
    """Makes forwards of one sequence in the block compute the last layer's feed-forward part at `places_P` alone.

    The places ascend; elsewhere that part adds nothing. Nothing after it mixes tokens, so the model's output at these
    places is unchanged. A model that calls that part by another name is left as it is.
    """
    part = getattr(layers[-1], "mlp", None) if layers else None
    if not isinstance(part, nn.Module) or "forward" in vars(part):
        yield
        return
    whole = part.forward

    def forward(hidden_BTH: Tensor) -> Any:
        added = whole(hidden_BTH.index_select(1, places_P))
        if not isinstance(added, Tensor):  # experts that also return their routing
            return whole(hidden_BTH)
        return added.new_zeros((*hidden_BTH.shape[:-1], added.shape[-1])).index_copy(1, places_P, added)

    with forwards({part: forward}):
        yield


@contextmanager
def recomputing(layers: Sequence[nn.Module], around: Callable[[], Any]) -> Iterator[None]:
    """Makes forwards in the block keep only the inputs of each layer; the backward pass recomputes it in `around()`.

    transformers does this only for models in training mode, in which dropout is on.
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
