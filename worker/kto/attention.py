"""Attention over rows that lie one after another in one sequence, without padding, for every model of transformers that
asks its attention interface.

A *segment* is a stretch of tokens that attends causally to itself and, where it has a *prefix*, to all of that first:
a row's prompt with its completion is one segment; a mismatched completion is one whose prefix is the prompt. A prefix
lies in an earlier forward that remembered its keys and values, detached: so the prompt is read once, and the mismatched
pass costs completion tokens alone.

Legend: T tokens of the whole sequence, H heads, D size of a head, S tokens of a segment; query and key are
[1, H, T, D].
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

from worker.kto.process import Refusal

#: What a model's config calls it.
PACKED = "thumbwheel_packed"


class Segment(NamedTuple):
    start: int
    end: int
    prefix: tuple[int, int] | None = None  # tokens start … end of the forward that is recalled


@dataclass
class Layout:
    """Where the segments of one forward lie."""

    segments: tuple[Segment, ...]
    remembers: bool = False
    recalls: "Layout | None" = None
    memory: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)  # by layer: keys and values, detached


_current: Layout | None = None


@contextmanager
def laid_out(layout: Layout) -> Iterator[None]:
    """Forwards in the block lie as `layout` says."""
    global _current
    _current = layout
    try:
        yield
    finally:
        _current = None


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 - the interface's; the layout says who sees whom
    scaling: float | None = None,
    dropout: float = 0.0,  # noqa: ARG001 - there is none
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface; [1, T, H, D]."""
    layout = _current
    assert layout is not None, "a packed model reads packed rows: see laid_out"
    if others.get("s_aux") is not None:
        raise Refusal("packing", "attention sinks cannot be packed")
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    if layout.remembers:
        layout.memory[layer] = (key.detach(), value.detach())
    earlier = layout.recalls.memory[layer] if layout.recalls else None
    attended = []
    for start, end, prefix in layout.segments:
        q, k, v = query[:, :, start:end], key[:, :, start:end], value[:, :, start:end]
        if prefix is not None:
            assert earlier is not None, "a prefix lies in a forward that is recalled"
            k = torch.cat((earlier[0][:, :, slice(*prefix)], k), 2)
            v = torch.cat((earlier[1][:, :, slice(*prefix)], v), 2)
        attended.append(_attend(q, k, v, scaling, sliding_window, softcap))
    return torch.cat(attended, 2).transpose(1, 2), None


def _attend(q: Tensor, k: Tensor, v: Tensor, scale: float | None, window: int | None, cap: float | None) -> Tensor:
    """The last len(q) tokens of len(k) attend to themselves and to what comes before them."""
    queries, keys = q.shape[2], k.shape[2]
    windowed = window is not None and keys > window
    grouped = q.shape[1] != k.shape[1]
    if cap is None and queries == keys and not windowed:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=grouped)
    seen_SS = torch.ones(queries, keys, dtype=torch.bool, device=q.device).tril(keys - queries)
    if windowed:
        assert window is not None
        seen_SS = seen_SS.triu(keys - queries - window + 1)
    if cap is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen_SS, scale=scale, enable_gqa=grouped)
    if grouped:
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    scores = cap * torch.tanh((q @ k.transpose(2, 3)) * (scale or q.shape[-1] ** -0.5) / cap)
    weights = scores.float().masked_fill(~seen_SS, -torch.inf).softmax(-1).to(q.dtype)
    return weights @ v


transformers.AttentionInterface.register(PACKED, packed_attention)
