"""Caches of keys, values and recurrent states: rows are taken out, and caches of other rows are joined.

In a joined cache the rows are padded on the left, so that they end at the same place.

Legend: B rows, W width: tokens that the cache has seen, padding among them.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves
from transformers import DynamicCache
from transformers.cache_utils import (
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
    LinearAttentionCacheLayerMixin,
    LinearAttentionLayer,
)

#: Layers whose content is known. Subclasses keep more than that, and so do the caches of other libraries.
JOINABLE = (
    DynamicLayer, DynamicSlidingWindowLayer, LinearAttentionLayer, LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
)  # fmt: skip


def new_cache(model: Any) -> DynamicCache:
    return DynamicCache(config=model.config)


def is_joinable(cache: Any) -> bool:
    return type(cache) is DynamicCache and all(type(layer) in JOINABLE for layer in cache.layers)


def select(cache: Any, row_B: Tensor) -> None:
    """Keeps these rows, in this order; a row may be repeated. The cache must be a `Cache` of transformers."""
    for layer in cache.layers:
        layer.reorder_cache(row_B)


def bytes_of(cache: Any) -> int:
    """Returns the memory of the keys, values and states. The cache must be a `Cache` of transformers."""
    return sum(
        tensor.numel() * tensor.element_size()
        for layer in cache.layers
        for tensor in tree_leaves(vars(layer))
        if isinstance(tensor, Tensor)
    )


def resize(cache: DynamicCache, width: int) -> None:
    """Adds or removes padding on the left, so that the cache has seen `width` tokens. It must be joinable."""
    for layer in cache.layers:
        if isinstance(layer, DynamicLayer) and layer.is_initialized:
            length = width
            if isinstance(layer, DynamicSlidingWindowLayer):
                length = min(width, layer.sliding_window - 1)
                layer.cumulative_length = width
            layer.keys, layer.values = _resized(layer.keys, length), _resized(layer.values, length)


def join(cache: DynamicCache, other: DynamicCache) -> None:
    """Appends the rows of `other`, which has seen as many tokens. Both must be joinable."""
    for layer, added in zip(cache.layers, other.layers, strict=True):
        if isinstance(layer, LinearAttentionCacheLayerMixin):
            _join_states(layer.conv_states, added.conv_states)
            _join_states(layer.recurrent_states, added.recurrent_states)
        if isinstance(layer, DynamicLayer) and layer.is_initialized:
            layer.keys = torch.cat([layer.keys, added.keys])
            layer.values = torch.cat([layer.values, added.values])


def _join_states(states: dict[int, Tensor | None], added: dict[int, Tensor | None]) -> None:
    for number, state in states.items():
        other = added[number]
        if state is not None and other is not None:
            states[number] = torch.cat([state, other])


def _resized(content_BHTD: Tensor, length: int) -> Tensor:
    missing = length - content_BHTD.shape[-2]
    return F.pad(content_BHTD, (0, 0, missing, 0)) if missing > 0 else content_BHTD[..., -missing:, :]
