"""Caches with room: their content is that of caches that are copied at every change."""

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from worker.generation.caches import ROOM, RoomyLayer, join, keep, make_room, resize

HEADS, SIZE = 2, 4


def layer_of(rows: int, tokens: int) -> DynamicLayer:
    layer = DynamicLayer()
    layer.update(torch.randn(rows, HEADS, tokens, SIZE), torch.randn(rows, HEADS, tokens, SIZE + 1))
    return layer


def cache_of(*layers: DynamicLayer) -> DynamicCache:
    cache = DynamicCache()
    cache.layers = list(layers)
    return cache


def same(roomy: DynamicLayer, plain: DynamicLayer, padding: Tensor) -> None:
    """Asserts that both hold the same, except for the padding, whose content has no meaning but is finite."""
    assert roomy.get_seq_length() == plain.get_seq_length()
    for own, expected in ((roomy.keys, plain.keys), (roomy.values, plain.values)):
        assert torch.isfinite(own).all()
        assert own.shape == expected.shape
        content = ~padding[:, None, :, None]
        assert torch.equal(own * content, expected * content)


def test_a_cache_with_room_holds_what_a_copied_one_holds_through_any_changes() -> None:
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    plain, roomy = cache_of(layer_of(3, 5)), cache_of(layer_of(3, 5))
    roomy.layers[0].keys, roomy.layers[0].values = plain.layers[0].keys.clone(), plain.layers[0].values.clone()
    make_room(roomy, rows=4)
    assert isinstance(roomy.layers[0], RoomyLayer)
    padding = torch.zeros(3, 5, dtype=torch.bool)

    for _ in range(300):
        rows, width = padding.shape
        change = draw.choice(["step", "step", "step", "leave", "join", "narrow"])
        if change == "step":
            states = torch.randn(rows, HEADS, 1, SIZE), torch.randn(rows, HEADS, 1, SIZE + 1)
            for cache in (plain, roomy):
                cache.update(*states, 0)
            padding = torch.cat([padding, torch.zeros(rows, 1, dtype=torch.bool)], 1)
        elif change == "leave" and rows > 1:
            order = draw.permutation(rows)[: max(1, rows - 2)].tolist()
            for cache in (plain, roomy):
                keep(cache, order, torch.tensor(order))
            padding = padding[order]
        elif change == "join" and rows < 12:
            longer = width + int(draw.integers(0, 3))
            added = layer_of(2, longer)
            for cache in (plain, roomy):
                resize(cache, longer)
                join(cache, cache_of(added))
            before = torch.cat([torch.ones(rows, longer - width, dtype=torch.bool), padding], 1)
            padding = torch.cat([before, torch.zeros(2, longer, dtype=torch.bool)])
        elif change == "narrow":
            width = int((~padding).sum(1).max())
            for cache in (plain, roomy):
                resize(cache, width)
            padding = padding[:, -width:]
        same(roomy.layers[0], plain.layers[0], padding)

    assert padding.shape[1] > 2 * ROOM  # the room was used up more than once
