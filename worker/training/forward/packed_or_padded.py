"""Chooses how a model is read: packed if that gives the log-probs of single rows, otherwise padded.

A model whose attention mixes more than a segment's own tokens, or whose head does more than a linear layer, would
silently train on wrong numbers. Each way is therefore compared with single rows of the run at the start, in float32
whatever the precision of the run: bfloat16 rounds so coarsely that wrong packing would pass.
"""

from collections.abc import Sequence
from functools import partial
from itertools import permutations
from typing import Any, NamedTuple

import torch
from torch import nn

from worker.training.data.batches import Block
from worker.training.data.packing import Packed, Pair
from worker.training.data.rows import Row
from worker.training.forward.attention import takes_all_at_once
from worker.training.forward.float32_weights import weights_in_float32
from worker.training.forward.logprobs import Inputs, Reading
from worker.training.forward.single_rows import LOOSE, TIGHT, Batch, Distance, SingleRows
from worker.training.forward.unpackable import has_experts, layers_of, reason_to_pad
from worker.training.machine.out_of_memory import is_out_of_memory
from worker.training.machine.process import TrainingRefusal, first_line
from worker.training.reference import matched, mismatched

#: Allowed difference in lp of two forwards of the same weights, by precision: per nat of |lp|, and at least.
SAME_WITHIN = {torch.float32: (1e-5, 1e-3), torch.bfloat16: (2e-2, 0.5)}
#: Number of rows that are compared in addition to a run's longest and shortest ones.
ROWS = 1
#: Number of these rows that are read again in 16 bits: a way that is known to be right only has to run.
FEW = 2
#: Rounding sends a few tokens to other experts in any way of reading: packing may change this many times as much as
#: padding does.
AS_PADDING = 3


NOT_FINITE = "no row that was compared has finite log-probs"
#: Nats by which later tokens may change the log-prob of an earlier token, through rounding.
AHEAD = 1e-3


class Way(NamedTuple):
    packed: bool
    at_once: bool = False  # one kernel of the GPU for all packed rows


PADDED, PACKED, AT_ONCE = Way(packed=False), Way(packed=True), Way(packed=True, at_once=True)


def reading_of(
    model: Any, batches: Sequence[Batch], precision: torch.dtype, weights: Sequence[nn.Parameter] = ()
) -> Reading:
    """Returns the fastest way of reading `model` that gives the same log-probs as single rows.

    It changes neither weights nor the state of a random generator. `weights` are the trained ones, whose gradients are
    compared too. Raises `TrainingRefusal` if not even padded rows agree with single rows.
    """
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            with weights_in_float32(model):
                trial = _Trial(model, batches, weights)
                if not trial.finite:
                    batches = _finite(model, batches)
                    if not batches:  # the run stops at such a row and names it
                        return Reading(model, precision, packed=False, chunked=False, padded_because=NOT_FINITE)
                    trial = _Trial(model, batches, weights)
                way, chunked, reason = trial.chosen(precision)
        except TrainingRefusal:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise TrainingRefusal(
                "base_model_unreadable",
                f"base_model: the model fails on a single row as the recipe trains it ({first_line(error)}): change "
                "method or lora.target_modules, or name another model",
            ) from error
        make = partial(Reading, model, precision, chunked=chunked)
        if precision is not torch.float32:
            few = [(own[-FEW:], others[-FEW:]) for own, others in batches]
            if way.packed:
                reason = _reason_against(make(packed=True, at_once=way.at_once), few, weights)
                way = PADDED if reason else way
            if not way.packed:
                _require_runs(make(packed=False), few, weights)
    return make(packed=way.packed, at_once=way.at_once, padded_because=reason)


@torch.no_grad()
def _finite(model: Any, batches: Sequence[Batch]) -> list[Batch]:
    """Returns the rows with finite log-probs: only these can be compared."""
    plain = Reading.plain(model)

    def is_finite(pair: Pair) -> bool:
        return bool(plain.read([pair])[0].lp_B.isfinite().all())

    result: list[Batch] = []
    for own, others in batches:
        finite = [(row, other) for row, other in zip(own, others, strict=True) if is_finite(row) and is_finite(other)]
        if finite:
            result.append(([row for row, _ in finite], [other for _, other in finite]))
    return result


def _reason_against(packed: Reading, batches: Sequence[Batch], weights: Sequence[nn.Parameter]) -> str | None:
    """Returns why rows that can be packed in float32 cannot be in 16 bits: code that fails or overflows; else None."""
    alone = Reading.plain(packed.model, packed.precision)
    try:
        with torch.no_grad():
            expected = [torch.cat([alone.read([pair])[0].lp_B for pair in (*own, *others)]) for own, others in batches]
        _step(packed, batches, weights)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return f"packed rows fail in {_name(packed.precision)} ({first_line(error)})"
    if not _says_the_same(packed, batches, expected, packed.precision):
        return f"packed rows differ from single rows in {_name(packed.precision)}"
    return None


def _require_runs(padded: Reading, batches: Sequence[Batch], weights: Sequence[nn.Parameter]) -> None:
    """Raises `TrainingRefusal` if the model's own code fails in 16 bits."""
    try:
        _step(padded, batches, weights)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise TrainingRefusal(
            "precision",
            f"recipe.json: precision: the base model fails in {_name(padded.precision)} ({first_line(error)}): set "
            "precision to float32",
        ) from error


def _step(reading: Reading, batches: Sequence[Batch], weights: Sequence[nn.Parameter]) -> None:
    """Takes a forward and a backward pass, as training does with a micro-batch, and keeps nothing."""
    with torch.set_grad_enabled(bool(weights)):
        for own, others in batches:
            read, _ = reading.read(own, others)
            if read.lp_B.requires_grad:
                torch.autograd.grad(read.lp_B.sum(), weights, allow_unused=True)


def _name(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")


class _Trial:
    """Ways of reading one model, compared with single rows in float32."""

    def __init__(self, model: Any, batches: Sequence[Batch], weights: Sequence[nn.Parameter]) -> None:
        self._model, self._batches, self._weights = model, batches, weights
        rows = (pair for own, _ in batches for pair in own)
        self._shortest = min(rows, key=lambda pair: len(pair[0]) + len(pair[1]))
        self._chunked = self._head_is_linear(self._shortest)
        self._alone = SingleRows(model, batches, weights, chunked=self._chunked)
        #: Whether all rows have finite log-probs, so that they can be compared.
        self.finite = self._alone.finite

    def chosen(self, precision: torch.dtype) -> tuple[Way, bool, str | None]:
        """Returns the way, whether the head is computed in chunks, and the reason for padding, if any.

        Raises `TrainingRefusal` if the model sees tokens ahead, or not even padded rows agree with single rows.
        """
        self._require_causal(self._shortest)
        reason = reason_to_pad(self._model) or self._reason_against_packing()
        if reason is None:
            at_once = takes_all_at_once(next(self._model.parameters()).device, precision) and self._right_at_once()
            return AT_ONCE if at_once else PACKED, self._chunked, None
        distance = self._distance(PADDED)
        if distance.finite and distance.share_of(LOOSE) > 1:
            raise _unreadable(f"padded rows differ from single rows ({distance})")
        return PADDED, self._chunked, reason

    def _reason_against_packing(self) -> str | None:
        try:
            distance = self._distance(PACKED)
        except _NotAllLayers as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - a model's own code can fail in any way
            if is_out_of_memory(error):
                return "there is not enough memory to compare packed rows with single ones"
            return f"packed rows fail ({first_line(error)})"
        share = distance.share_of(TIGHT)
        if share <= 1 or (distance.share_of(LOOSE) <= 1 and share <= self._share_of_experts()):
            return None
        return f"packed rows differ from single rows ({distance})"

    def _share_of_experts(self) -> float:
        """Returns the allowed share of `TIGHT` for packed rows, a few tokens of which go to other experts."""
        return AS_PADDING * self._distance(PADDED).share_of(TIGHT) if has_experts(self._model) else 0.0

    def _right_at_once(self) -> bool:
        try:
            return self._distance(AT_ONCE).share_of(LOOSE) <= 1
        except Exception:  # noqa: BLE001 - a kernel can fail in any way, and reading segment by segment is right
            return False

    def _distance(self, way: Way) -> Distance:
        reading = Reading(self._model, packed=way.packed, chunked=self._chunked, at_once=way.at_once, recompute=True)
        inputs = [reading.inputs(*batch) for batch in self._batches]
        distance = self._alone.distance_of(reading, inputs)
        if way.packed:
            _require_all_layers(self._model, inputs)
        return distance

    def _head_is_linear(self, pair: Pair) -> bool:
        """Returns whether log-probs may be computed from hidden states in chunks, tried on one row."""
        chunked = Reading(self._model, packed=False, chunked=True, recompute=True)
        if not chunked.chunked:
            return False
        own_head = SingleRows(self._model, [([pair], [])], self._weights, chunked=False)
        try:
            return own_head.distance_of(chunked, [chunked.inputs([pair])]).share_of(TIGHT) <= 1
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return False

    @torch.no_grad()
    def _require_causal(self, pair: Pair) -> None:
        """Raises `TrainingRefusal` if a log-prob depends on later tokens."""
        prompt, completion = pair
        alone = Reading.plain(self._model)
        whole_N, cut_N = (alone.read([(prompt, read)])[0].lp_N for read in (completion, completion[:-1]))
        apart_N = (whole_N[:-1] - cut_N).abs()
        allowed = LOOSE.absolute if has_experts(self._model) else AHEAD
        if bool((apart_N > allowed).any()):  # NaN is reported by the first step, which names the row
            raise _unreadable(f"it sees tokens ahead (log-probs change by {float(apart_N.max()):.2g} nats)")


class _NotAllLayers(Exception):
    """Some layers attend by code of their own."""


def _require_all_layers(model: Any, inputs: Sequence[Inputs]) -> None:
    for own, _ in inputs:
        assert isinstance(own, Packed)
        layers, attended = layers_of(model), len(own.layout.attended)
        if attended < layers:
            raise _NotAllLayers(f"{layers - attended} of its {layers} layers mix tokens by code of their own")


def _unreadable(why: str) -> TrainingRefusal:
    return TrainingRefusal(
        "base_model_unreadable",
        f"base_model: the model cannot be trained on rows of different lengths: {why}: name a decoder-only model "
        "(is_decoder in config.json), or shorten max_length",
    )


def is_compiled(reading: Reading, batches: Sequence[Batch]) -> bool:
    """Compiles the layers of `reading`'s model, unless that fails or changes log-probs; returns whether they are."""
    if not reading.compilable:
        return False
    with torch.no_grad():
        expected = [torch.cat([read.lp_B for read in reading.read(*batch) if read is not None]) for batch in batches]
    reading.compile()
    if _says_the_same(reading, batches, expected, reading.precision):
        return True
    reading.uncompile()
    return False


def tried(rows: Sequence[Row], max_length: int) -> Sequence[Batch]:
    """Returns the rows for comparing ways of reading, in one batch.

    They are the longest, the shortest and the first row, and the longest mismatched pair that a plan can have. Lengths
    matter: only long rows exceed a window or a chunk of attention, and some models read a short row differently next
    to a long one. The completion of each row also completes the prompt of the row before it.
    """
    numbers = range(len(rows))
    prompts = sorted(numbers, key=lambda row: -len(rows[row].prompt))[:2]
    completions = sorted(numbers, key=lambda row: -len(rows[row].completion))[:2]
    pairs = [(p, c) for p in prompts for c in completions if p != c] or list(permutations(numbers, 2))[:1]
    longest_pair = max(pairs, key=lambda pair: len(rows[pair[0]].prompt) + len(rows[pair[1]].completion), default=())
    by_length = sorted(numbers, key=lambda row: -rows[row].length)
    members = tuple(dict.fromkeys([*longest_pair, by_length[0], by_length[-1], *numbers[:ROWS]]))
    block = Block(members, (*members[1:], *members[:1]))
    return [(matched(rows, block), mismatched(rows, block, max_length))]


@torch.no_grad()
def _says_the_same(
    reading: Reading, batches: Sequence[Batch], expected: Sequence[torch.Tensor], precision: torch.dtype
) -> bool:
    relative, absolute = SAME_WITHIN[precision]
    try:
        for (own, others), expected_B in zip(batches, expected, strict=True):
            forwards = reading.read(own, others)
            lp_B = torch.cat([read.lp_B for read in forwards if read is not None])
            if not bool(((lp_B - expected_B).abs() <= absolute + relative * expected_B.abs()).all()):
                return False
    except Exception:  # noqa: BLE001 - a model's own code, a kernel, a compiler can fail in any way
        return False
    return True
