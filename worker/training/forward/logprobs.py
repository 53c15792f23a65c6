"""Log-probs of completions under a causal language model.

Legend: B rows, T tokens of the longest row, N completion tokens of all rows together, V vocabulary, H hidden size.
Log-probs are in nats, in float32, summed over a row's completion tokens; prompt and padding never count.

A `Reading` knows how to read one model. Rows are packed, so that nothing is computed for padding and a prompt is read
once for both of its completions, or padded if the model's attention cannot be packed. The head is computed in chunks,
so that the matrix of all logits never exists, or by the model's own code if that is more than a linear layer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from worker.training.data.packing import Packed, Pair
from worker.training.data.padding import Sequences
from worker.training.forward.arithmetic import autocast
from worker.training.forward.attention import PACKED, laid_out
from worker.training.forward.cpu_bfloat16 import lacks_bfloat16, linear_layers, multiplied_as_float32
from worker.training.forward.head import Head
from worker.training.forward.layers import decoder_layers, last_feed_forward_at, recomputing
from worker.training.forward.router_balance import RouterSums, Routing

#: torch's own compiler.
COMPILER = "inductor"


@dataclass(frozen=True)
class Forward:
    """The log-probs of completions from one forward of a model."""

    lp_N: Tensor  # log π(token | all before it) of every completion token, row after row, in float32
    row_N: Tensor  # the row of each token
    completions: tuple[int, ...]  # number of completion tokens of each row
    tokens: int  # number of tokens read
    room: int  # number of tokens computed, including padding
    router: RouterSums | None = None  # of a mixture of experts, over real tokens, if requested

    @property
    def lp_B(self) -> Tensor:
        """The log-prob of each completion, lp(y|x) = Σ_t log π(y_t | x, y_<t)."""
        return by_row(self.lp_N, self.row_N, self.completions)

    @property
    def router_loss(self) -> Tensor | None:
        """The loss of the routers over this forward alone."""
        return None if self.router is None else self.router.share(self.router.choices)


def by_row(value_N: Tensor, row_N: Tensor, completions: Sequence[int]) -> Tensor:
    """Sums over each row's completion tokens; returns [B]. `row_N` ascends; `completions` counts each row's tokens.

    Each row is summed as a line of a padded matrix, not by scattered additions: less rounding, and the same order on
    every device. Nothing here waits for the device.
    """
    rows, longest = len(completions), max(completions, default=0)
    starts_B = torch.searchsorted(row_N, torch.arange(rows, device=row_N.device))
    place_N = torch.arange(len(row_N), device=row_N.device) - starts_B[row_N]
    flat = value_N.new_zeros(rows * longest)
    return flat.index_copy(0, row_N * longest + place_N, value_N).view(rows, longest).sum(1)


class Inputs(NamedTuple):
    """The inputs of a forward, on its device: rows, and the same prompts with other completions."""

    own: Packed | Sequences | None  # None without rows
    others: Packed | Sequences | None


class HeadNotCalled(Exception):
    """The model computes its logits without calling its output embeddings, so it can only be read padded."""


class Reading:
    """A way of reading one model: packed or padded, with the head in chunks or not."""

    def __init__(
        self,
        model: Any,
        precision: torch.dtype = torch.float32,
        *,
        packed: bool,
        chunked: bool,
        at_once: bool = False,
        recompute: bool = False,
        padded_because: str | None = None,
    ) -> None:
        """Prepares a way of reading `model`.

        `at_once` reads packed rows by one kernel of the GPU. `recompute` computes activations twice instead of keeping
        them. `padded_because` is the reason why rows are not packed, if that was tried.
        """
        self.model = model
        self.precision = precision
        self.packed = packed
        self.at_once = at_once
        self.recompute = recompute
        self.routing = Routing.of(model)
        self.padded_because = padded_because
        self._head = Head.of(model) if chunked else None
        self.chunked = self._head is not None
        # Every part of a model looks up its attention in its own config.
        self._configs = list({id(m.config): m.config for m in model.modules() if hasattr(m, "config")}.values())
        self._layers = decoder_layers(model)
        in_float32 = precision is torch.bfloat16 and lacks_bfloat16(self.device)
        self._multiplied = linear_layers(model) if in_float32 else []
        self._compiled = False

    @classmethod
    def plain(cls, model: Any, precision: torch.dtype = torch.float32) -> "Reading":
        """Returns the reading that works for any model: padded, with the model's own head."""
        return cls(model, precision, packed=False, chunked=False)

    def recomputing(self) -> "Reading":
        """Returns the same reading with recomputed activations: less memory, more time."""
        return Reading(
            self.model,
            self.precision,
            packed=self.packed,
            chunked=self.chunked,
            at_once=self.at_once,
            recompute=True,
            padded_because=self.padded_because,
        )

    @property
    def compilable(self) -> bool:
        """Returns whether the model's layers run unchanged, except for attention and the last feed-forward part."""
        return not self.recompute and not self._multiplied

    def compile(self) -> None:
        self._compiled = True
        for layer in self._layers:
            layer.compile(dynamic=True, backend=COMPILER)

    def uncompile(self) -> None:
        self._compiled = False
        for layer in self._layers:
            layer._compiled_call_impl = None

    def read(
        self, pairs: Sequence[Pair], others: Sequence[Pair] | None = None, *, router_loss: bool = False
    ) -> tuple[Forward, Forward | None]:
        """Reads prompts with their completions, with gradient unless the caller turned it off.

        `others`, other completions of the same prompts, are read without gradient.
        """
        return self.forward(self.inputs(pairs, others), router_loss=router_loss)

    def inputs(self, pairs: Sequence[Pair], others: Sequence[Pair] | None = None) -> Inputs:
        """Returns the inputs of `forward`. It does not use the model, so it can run in advance."""
        device = self.device
        if not pairs:  # a rank without a share of the micro-batch
            return Inputs(None, None)
        if not self.packed:
            return Inputs(Sequences.of(pairs, device), None if others is None else Sequences.of(others, device))
        packed = Packed.of(pairs, device, at_once=self.at_once)
        return Inputs(packed, None if others is None else packed.continued(others, device))

    def forward(self, inputs: Inputs, *, router_loss: bool = False) -> tuple[Forward, Forward | None]:
        """Reads prepared inputs, as `read` does."""
        own, others = inputs
        if own is None:
            nothing = Forward(
                torch.zeros(0, device=self.device, requires_grad=torch.is_grad_enabled()),
                torch.zeros(0, dtype=torch.int64, device=self.device),
                (), 0, 0, self._router_sums(None, None, requested=router_loss),
            )  # fmt: skip
            return nothing, nothing
        if isinstance(own, Sequences):
            read = self._padded(own, router_loss=router_loss)
            if others is None:
                return read, None
            assert isinstance(others, Sequences)
            with torch.no_grad():
                return read, self._padded(others)
        own.layout.remembers = others is not None
        read, hidden_TH = self._packed(own, None, router_loss=router_loss)
        if others is None:
            return read, None
        assert isinstance(others, Packed)
        with torch.no_grad():
            other, _ = self._packed(others, hidden_TH.detach())
        own.layout.forget()
        return read, other

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.get_output_embeddings().weight.device
        return device

    def _packed(
        self, packed: Packed, earlier_TH: Tensor | None, *, router_loss: bool = False
    ) -> tuple[Forward, Tensor]:
        """Reads packed rows; returns the log-probs and the hidden states.

        `earlier_TH` are the hidden states of the sequence that is continued, from which first tokens are predicted.
        """

        def pick(hidden_BTH: Tensor) -> Tensor:
            hidden_NH = hidden_BTH[0][packed.source_N.clamp(min=0)]
            if earlier_TH is None:
                return hidden_NH
            place_N = -1 - packed.source_N
            return torch.where((place_N >= 0)[:, None], earlier_TH[place_N.clamp(min=0)], hidden_NH)

        extra = {"output_router_logits": True} if router_loss else {}
        inputs = {"input_ids": packed.ids_T[None], "position_ids": packed.positions_T[None], **extra}
        # The loss of a router is taken over all tokens, so none can be left out; a compiled layer cannot be divided.
        counted = packed.source_N if earlier_TH is None and not router_loss and not self._compiled else None

        @contextmanager
        def inside() -> Iterator[None]:
            last = nullcontext() if counted is None else last_feed_forward_at(self._layers, counted)
            with self._attending_packed(), last:
                yield

        with laid_out(packed.layout):
            lp_N, output, hidden_BTH = self._log_probs(inputs, pick, packed.target_N, inside)
        router = self._router_sums(output, None, requested=router_loss)
        return Forward(lp_N, packed.row_N, packed.completions, packed.tokens, packed.tokens, router), hidden_BTH[0]

    def _padded(self, sequences: Sequences, *, router_loss: bool = False) -> Forward:
        inputs: dict[str, Any] = {"input_ids": sequences.ids_BT}
        if router_loss:
            inputs |= {"output_router_logits": True}
        positions_T = torch.arange(sequences.ids_BT.shape[1], device=sequences.ids_BT.device)
        real_BT = positions_T < sequences.length_B[:, None]

        def pick(hidden_BTH: Tensor) -> Tensor:
            return hidden_BTH.flatten(0, 1)[sequences.source_N]

        lp_N, output, _ = self._log_probs(inputs, pick, sequences.target_N)
        router = self._router_sums(output, real_BT.flatten(), requested=router_loss)
        room = sequences.ids_BT.numel()
        return Forward(lp_N, sequences.row_N, sequences.completions, sequences.tokens, room, router)

    def _router_sums(self, output: Any, real_T: Tensor | None, *, requested: bool) -> RouterSums | None:
        if not requested or self.routing is None:
            return None
        return self.routing.sums(getattr(output, "router_logits", None), real_T, self.device)

    def _log_probs(
        self,
        inputs: Mapping[str, Any],
        pick: Callable[[Tensor], Tensor],
        target_N: Tensor,
        inside: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> tuple[Tensor, Any, Tensor]:
        """Returns lp_N, the model's output and the input of its head. `inside` is the context in which layers run.

        A hook on the output embeddings picks the hidden states before completion tokens. If the head is chunked, it is
        computed here; else the model's head continues with these states alone, so that any later change of the logits
        is made by the model's own code.
        """
        caught: list[Tensor] = []

        def catch(_head: Any, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            caught.append(arguments[0])
            left = arguments[0][:, :0] if self._head else pick(arguments[0])[None]
            return (left, *arguments[1:])

        hook = self.model.get_output_embeddings().register_forward_pre_hook(catch)

        @contextmanager
        def within() -> Iterator[None]:
            with inside(), multiplied_as_float32(self._multiplied):
                yield

        memory = recomputing(self._layers, within) if self.recompute else nullcontext()
        try:
            with within(), memory, autocast(target_N.device, self.precision):
                output = self.model(use_cache=False, **inputs)
        finally:
            hook.remove()
        if not caught and self.packed:
            raise HeadNotCalled("the model does not call its output embeddings")
        if not caught:
            lp_N = -F.cross_entropy(pick(output.logits).float(), target_N, reduction="none")
        elif self._head:
            lp_N = self._head.log_probs(pick(caught[0]), target_N, self.precision)
        else:
            lp_N = -F.cross_entropy(output.logits[0].float(), target_N, reduction="none")
        return lp_N, output, caught[0] if caught else output.logits

    @contextmanager
    def _attending_packed(self) -> Iterator[None]:
        before = [config._attn_implementation for config in self._configs]
        for config in self._configs:
            config._attn_implementation = PACKED
        try:
            yield
        finally:
            for config, name in zip(self._configs, before, strict=True):
                config._attn_implementation = name
