"""Attention over rows packed into one sequence without padding, for models that use transformers' attention interface.

A *segment* is a stretch of tokens that attends causally to itself and, if it has a *prefix*, to all of the prefix. A
row's prompt with its completion is one segment; a mismatched completion is a segment whose prefix is the prompt. A
prefix lies in an earlier forward that remembered its keys and values, detached. The prompt is thus read once, and the
mismatched pass costs completion tokens alone.

There are two kernels: torch's scaled dot product, segment by segment, which works on any device and model; and
variable-length flash attention over all segments in one call, on a GPU for 16-bit models without soft-capping.

Legend: T tokens of the whole sequence, K keys of all segments, H heads, D size of a head, S tokens of a segment; query
and key are [1, H, T, D].
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

from worker.training.machine.process import TrainingRefusal

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # an older torch
    varlen_attn = None  # type: ignore[assignment]

#: The name of this attention in a model's config.
PACKED = "thumbwheel_packed"


class PackedSegment(NamedTuple):
    start: int
    end: int
    prefix: tuple[int, int] | None = None  # tokens start … end of the forward that is recalled


class Bounds(NamedTuple):
    """The bounds of all segments, for a kernel that reads them in one call."""

    queries: Tensor  # int32: the offsets at which each segment's queries start, and the end of the last
    keys: Tensor  # the same for its keys
    longest_queries: int
    longest_keys: int
    places_K: Tensor | None  # offsets of the keys in the recalled forward and this one; None: this one's, in order

    @classmethod
    def of(cls, segments: Sequence[PackedSegment], recalled: int, device: torch.device) -> "Bounds":
        """Returns the bounds of `segments`; `recalled` is the number of tokens of the forward with the prefixes."""
        queries = [segment.end - segment.start for segment in segments]
        prefixes = [segment.prefix or (0, 0) for segment in segments]
        keys = [end - start + count for (start, end), count in zip(prefixes, queries, strict=True)]
        places: Tensor | None = None
        if any(segment.prefix for segment in segments):
            parts = [
                np.concatenate([np.arange(*prefix), np.arange(recalled + segment.start, recalled + segment.end)])
                for segment, prefix in zip(segments, prefixes, strict=True)
            ]
            places = torch.from_numpy(np.concatenate(parts)).to(device)
        starts = [torch.tensor([0, *np.cumsum(of)], dtype=torch.int32).to(device) for of in (queries, keys)]
        return cls(starts[0], starts[1], max(queries), max(keys), places)


@dataclass
class Layout:
    """The positions of the segments of one forward, with its remembered keys and values."""

    segments: tuple[PackedSegment, ...]
    remembers: bool = False
    recalls: "Layout | None" = None
    bounds: Bounds | None = None  # if all segments are read in one call
    memory: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)  # by layer: keys and values, detached
    attended: set[int] = field(default_factory=set)  # layers whose attention used `packed_attention`

    @property
    def tokens(self) -> int:
        return self.segments[-1].end

    def forget(self) -> None:
        self.remembers = False
        self.memory.clear()


def takes_all_at_once(device: torch.device, precision: torch.dtype) -> bool:
    """Returns whether there is a kernel that reads all segments in one call."""
    return varlen_attn is not None and device.type == "cuda" and precision in (torch.bfloat16, torch.float16)


_current: Layout | None = None


def current_layout() -> Layout | None:
    return _current


@contextmanager
def laid_out(layout: Layout | None) -> Iterator[None]:
    """Makes `layout` the layout of forwards in the block."""
    global _current
    before, _current = _current, layout
    try:
        yield
    finally:
        _current = before


@torch.compiler.disable
def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 - part of the interface; the layout decides what a token sees
    scaling: float | None = None,
    dropout: float = 0.0,  # noqa: ARG001 - there is none
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Implements transformers' attention interface; returns [1, T, H, D]."""
    layout = _current
    assert layout is not None, "a packed model reads packed rows: see laid_out"
    if others.get("s_aux") is not None:
        raise TrainingRefusal("packing", "attention sinks cannot be packed")
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    layout.attended.add(layer)
    if layout.remembers:
        layout.memory[layer] = (key.detach(), value.detach())
    earlier = layout.recalls.memory[layer] if layout.recalls else None
    if layout.bounds is not None and softcap is None:
        return _at_once(query, key, value, layout.bounds, earlier, scaling, sliding_window), None
    # Split and joined as a whole: the gradient of each slice would be a sequence of zeros around it.
    lengths = [end - start for start, end, _ in layout.segments]
    parts = zip(layout.segments, *(x.split(lengths, 2) for x in (query, key, value)), strict=True)
    attended = []
    for (_, _, prefix), q, k, v in parts:
        if prefix is not None:
            assert earlier is not None, "a prefix lies in a forward that is recalled"
            k = torch.cat((earlier[0][:, :, slice(*prefix)], k), 2)  # noqa: PLW2901
            v = torch.cat((earlier[1][:, :, slice(*prefix)], v), 2)  # noqa: PLW2901
        attended.append(_attend(q, k, v, scaling, sliding_window, softcap).transpose(1, 2))
    return torch.cat(attended, 1), None


def _at_once(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bounds: Bounds,
    earlier: tuple[Tensor, Tensor] | None,
    scale: float | None,
    window: int | None,
) -> Tensor:
    """Returns the attention of all segments: q queries see causally the last q keys of their segment and all before."""
    if bounds.places_K is not None:
        assert earlier is not None, "a prefix lies in a forward that is recalled"
        key = torch.cat((earlier[0], key), 2).index_select(2, bounds.places_K)
        value = torch.cat((earlier[1], value), 2).index_select(2, bounds.places_K)
    back = -1 if window is None else window - 1  # in addition to the token itself
    # Rotary positions may produce float32, and a check computes in float32; a GPU's kernel takes 16 bits.
    dtype = torch.bfloat16 if value.is_cuda and value.dtype is torch.float32 else value.dtype
    attended = varlen_attn(
        query[0].transpose(0, 1).to(dtype),
        key[0].transpose(0, 1).to(dtype),
        value[0].transpose(0, 1).to(dtype),
        bounds.queries,
        bounds.keys,
        bounds.longest_queries,
        bounds.longest_keys,
        scale=scale,
        window_size=(back, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(attended, Tensor)
    return attended[None].to(value.dtype)


def _attend(q: Tensor, k: Tensor, v: Tensor, scale: float | None, window: int | None, cap: float | None) -> Tensor:
    """Returns the attention of the last len(q) of len(k) tokens to themselves and to all tokens before."""
    if q.device.type == "cpu" and v.dtype is torch.bfloat16:
        # Few CPUs compute in bfloat16: in float32 the backward pass takes half the time and loses nothing.
        with torch.autocast("cpu", enabled=False):
            return _attend(q.float(), k.float(), v.float(), scale, window, cap).bfloat16()
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
