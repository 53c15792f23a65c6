"""Caches of keys, values and recurrent states: rows are taken out, and caches of other rows are joined.

In a joined cache the rows are padded on the left, so that they end at the same place. The keys and values of full
attention lie in buffers with room: a new token, a row that leaves and one that joins copy themselves alone.

Legend: B rows, W width: tokens that the cache has seen, padding among them; H heads, D size of a head.
"""

from collections.abc import Sequence
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

#: Tokens that a buffer has room for when it is made.
ROOM = 64


class RoomyLayer(DynamicLayer):
    """A layer of full attention in buffers. `keys` and `values` are views of the rows and tokens in use."""

    def __init__(self, layer: DynamicLayer, rows: int) -> None:
        """Takes over the content of `layer`, with room for `rows` rows in all."""
        super().__init__()
        self.dtype, self.device = layer.dtype, layer.device
        self.keys, self.values, self.is_initialized = layer.keys, layer.values, True
        self._make_room(rows, left=0)

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Appends tokens to every row, and returns all keys and values."""
        rows, _heads, length, _size = self.keys.shape
        end, more = self._start + length, key_states.shape[-2]
        if end + more > self._buffers[0].shape[-2]:
            self._make_room(len(self._buffers[0]), left=0)
            end = length
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:rows, :, end : end + more] = states
        self._show(rows, self._start, end + more)
        return self.keys, self.values

    def keep(self, order: Sequence[int]) -> None:
        """Keeps these rows, in this order. Only rows that change their place are copied."""
        moves = [(place, row) for place, row in enumerate(order) if place != row]
        end = self._start + self.keys.shape[-2]
        if moves:
            to, of = map(list, zip(*moves, strict=True))
            for buffer in self._buffers:
                buffer[to, :, self._start : end] = buffer[of, :, self._start : end]
        self._show(len(order), self._start, end)

    def resize(self, width: int) -> None:
        """Adds or removes padding on the left. Its content has no meaning, but is finite."""
        missing = width - self.keys.shape[-2]
        if missing > self._start:
            self._make_room(len(self._buffers[0]), left=missing)
        rows, end = len(self.keys), self._start + self.keys.shape[-2]
        self._show(rows, self._start - missing, end)

    def append(self, other: DynamicLayer) -> None:
        """Appends the rows of a layer that has as many tokens."""
        rows, length = len(self.keys), self.keys.shape[-2]
        every = rows + len(other.keys)
        if every > len(self._buffers[0]):
            self._make_room(every, left=0)
        end = self._start + length
        for buffer, added in zip(self._buffers, (other.keys, other.values), strict=True):
            buffer[rows:every, :, self._start : end] = added
        self._show(every, self._start, end)

    def _make_room(self, rows: int, *, left: int) -> None:
        """Moves the content to new buffers for `rows` rows, `left` tokens before the content and `ROOM` after it."""
        length = self.keys.shape[-2]
        buffers = []
        for content in (self.keys, self.values):
            used, heads, _, size = content.shape
            buffer = content.new_zeros(rows, heads, left + length + ROOM, size)
            buffer[:used, :, left : left + length] = content
            buffers.append(buffer)
        self._buffers = buffers
        self._show(len(self.keys), left, left + length)

    def _show(self, rows: int, start: int, end: int) -> None:
        self._start = start
        self.keys, self.values = (buffer[:rows, :, start:end] for buffer in self._buffers)


#: Layers whose content is known. Subclasses keep more than that, and so do the caches of other libraries.
JOINABLE = (
    DynamicLayer, RoomyLayer, DynamicSlidingWindowLayer, LinearAttentionLayer, LinearAttentionAndFullAttentionLayer,
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


def make_room(cache: DynamicCache, rows: int) -> None:
    """Puts the layers of full attention into buffers for `rows` rows. The cache must be joinable."""
    for number, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer and layer.is_initialized:
            cache.layers[number] = RoomyLayer(layer, rows)


def keep(cache: Any, order: Sequence[int], row_B: Tensor) -> None:
    """Keeps these rows, in this order, each once. `row_B`: the same as a tensor."""
    for layer in cache.layers:
        if isinstance(layer, RoomyLayer):
            layer.keep(order)
        else:
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
        if isinstance(layer, RoomyLayer):
            layer.resize(width)
        elif isinstance(layer, DynamicLayer) and layer.is_initialized:
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
        if isinstance(layer, RoomyLayer):
            layer.append(added)
        elif isinstance(layer, DynamicLayer) and layer.is_initialized:
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
