"""Predicts the largest micro-batch that fits in memory from two measured steps.

One forward and backward pass of rows as long as the longest is measured at two sizes, and its peak is extrapolated
linearly, as the memory of a step grows with its tokens. On a GPU the peak is the allocator's own; on a CPU it is that
of all live tensors, which are counted.

    needed(tokens) = gradients + AdamW's two moments + fixed + by token · tokens

The weights are in memory already, and the update, in one pass, needs nothing more. A micro-batch of n rows has at most
the tokens of the n longest rows, or, if padded, n times those of the longest. The choice is the largest divisor of the
batch size that needs at most `SHARE` of the free memory; it is even for pairs. If that is less than `ENOUGH` rows,
activations are computed twice instead of kept, if the recipe allows it.
"""

import json
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from thumbwheel.wire.recipe import Recipe
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from worker.training.data.rows import Row
from worker.training.data.tokens import Ids
from worker.training.files.sealed import read_cache, write_sealed
from worker.training.forward.logprobs import Reading
from worker.training.job import Job
from worker.training.machine.out_of_memory import is_out_of_memory, micro_batch_sizes
from worker.training.machine.process import TrainingRefusal
from worker.training.machine.ranks import Ranks
from worker.training.models.policy import Arithmetic
from worker.training.objectives import OBJECTIVES
from worker.training.reference import Pair

#: Share of the free memory to use. The rest is for needs that the measurement misses: fragments, other blocks, samples
#: of the drift.
SHARE = 0.85
#: Memory of a process on a CPU, as a multiple of its live tensors: malloc keeps freed blocks for later. 1.2 to 1.6 was
#: measured with glibc 2.36, and 1.02 with malloc set to return every block at once.
KEPT_BY_MALLOC = 1.6
#: Numbers of rows that are measured, at most the size of the smallest micro-batch.
MEASURED = (1, 2)
#: Number of rows in a micro-batch below which z0 is too noisy.
ENOUGH = 4
GIB = 2**30


@dataclass(frozen=True)
class Need:
    """The bytes of a step with `MEASURED` rows of `longest` tokens, without the weights; infinite if too many."""

    few: float
    more: float
    longest: int  # tokens of a measured row
    update: int  # gradients and moments

    @property
    def by_token(self) -> float:
        few, more = MEASURED
        return (self.more - self.few) / ((more - few) * self.longest)

    @property
    def fixed(self) -> float:
        """The bytes that do not grow with tokens: chunks of the head, workspaces."""
        return self.few - MEASURED[0] * self.longest * self.by_token

    def of(self, tokens: float) -> float:
        """Returns the bytes of a micro-batch with `tokens` tokens."""
        return self.update + self.fixed + tokens * self.by_token


def measured_micro_batch(
    reading: Reading,
    weights: Mapping[str, nn.Parameter],
    rows: Sequence[Row],
    recipe: Recipe,
    arithmetic: Arithmetic,
    max_length: int,
    ranks: Ranks,
    *,
    free: int,
    at_most: int,
    router_loss: bool = False,
) -> tuple[int, dict[str, Any]]:
    """Returns the largest micro-batch that fits, and the figures behind the choice.

    `free` is the number of bytes that this rank may use, `at_most` the number of rows. Call it on every rank, before
    the optimizer has a state; it has no lasting effect. Raises `TrainingRefusal` on all ranks if two rows do not fit.
    """
    trained = sum(weight.numel() * weight.element_size() for weight in weights.values())
    on_gpu = arithmetic.device.type == "cuda"
    own, other = _longest(rows, max_length, packed=reading.packed)
    lengths = sorted((row.length for row in rows), reverse=True)
    sizes = micro_batch_sizes(recipe, at_most)
    unit = 2 if OBJECTIVES[recipe.objective].data == "pairs" else 1

    def tokens(size: int) -> int:
        """Returns the largest number of tokens that a rank's share of `size` rows can have."""
        share = -(-size // (unit * ranks.world)) * unit
        return sum(lengths[:share]) if reading.packed else share * lengths[0]

    def needed(way: Reading) -> Need:
        def peak(count: int) -> float:
            work = partial(_step, way, recipe, own, other, count, router_loss=router_loss)
            return measured_peak(work, weights, way.model, arithmetic.device)

        if on_gpu:
            peak(MEASURED[0])  # the first pass also makes the workspaces of libraries, which stay
        few, more = (peak(count) for count in MEASURED)
        return Need(few, more, lengths[0], update=3 * trained)

    def largest(need: Need) -> int:
        needs = ranks.gather({ranks.rank: (need, free)}).values()
        return max(
            (size for size in sizes if all(n.of(tokens(size)) <= SHARE * limit for n, limit in needs)), default=0
        )

    need, chosen, twice = None, 0, False
    for again in {"off": (False,), "on": (True,), "auto": (False, True)}[recipe.activation_checkpointing]:
        candidate = needed(reading.recomputing() if again else reading)
        fitting = largest(candidate)
        if need is None or fitting > chosen:
            need, chosen, twice = candidate, fitting, again
        if chosen >= min(ENOUGH, sizes[-1]):
            break
    assert need is not None, "there is one way at least"
    if chosen == 0:
        least = min(limit for _, limit in ranks.gather({ranks.rank: (0, free)}).values())
        divide = "" if sizes[0] == 2 else f", set batch_size (it is {recipe.batch_size}) to a multiple of 4"
        method = "" if recipe.method == "lora" else ", set method to lora"
        keep = ", set activation_checkpointing to auto" if recipe.activation_checkpointing == "off" else ""
        raise TrainingRefusal(
            "memory",
            f"recipe.json: micro_batch_size: {sizes[0]} rows of {lengths[0]} tokens do not fit into {SHARE:.0%} of the "
            f"{least / GIB:.3g} GiB that are free after loading the weights: lower max_length (it is "
            f"{recipe.max_length}){divide}{method}{keep}",
        )
    return chosen, {
        "micro_batch_size": chosen,
        "micro_batch_tokens": tokens(chosen),
        "activations_computed_twice": twice,
        "longest_row": lengths[0],
        "bytes_needed": math.ceil(need.of(tokens(chosen))),
        "bytes_of_weights": sum(weight.numel() * weight.element_size() for weight in reading.model.parameters()),
        "bytes_of_gradients_and_moments": need.update,
        "bytes_by_token": math.ceil(need.by_token),
        "bytes_whatever_the_tokens": math.ceil(need.fixed),
        "bytes_free": free,
        "share_of_them_used": SHARE,
    }


def decided_micro_batch(
    job: Job, ranks: Ranks, measure: Callable[[], tuple[int, dict[str, Any]]]
) -> tuple[int, dict[str, Any] | None]:
    """Returns the recipe's micro-batch, or, if that is auto, the one measured by an earlier attempt or by `measure`.

    The measurement is stored in WORKDIR/micro-batch.json, because the plan of all blocks depends on it.
    """
    requested = job.recipe.micro_batch_size
    if requested != "auto":
        return requested, None
    path = job.workdir / "micro-batch.json"
    stored: dict[str, Any] = {}
    if ranks.writes and (cached := read_cache(path)) is not None:
        content = json.loads(cached)
        stored = content["measured"] if content["identity"] == job.identity else {}
    measured = ranks.gather(stored)
    if not measured:
        _, measured = measure()
        if ranks.writes:
            content = {"identity": job.identity, "measured": measured}
            write_sealed(path, json.dumps(content, indent=1).encode())
    return int(measured["micro_batch_size"]), measured


def _step(reading: Reading, recipe: Recipe, own: Pair, other: Pair, count: int, *, router_loss: bool) -> None:
    """Takes a training step's forward and backward pass with `count` rows `own`, mismatched with `other`."""
    others = [other] * count if OBJECTIVES[recipe.objective].mismatched else None
    read, _ = reading.read([own] * count, others, router_loss=router_loss)
    loss = read.lp_B.sum()
    (loss if read.router_loss is None else loss + read.router_loss).backward()


def _longest(rows: Sequence[Row], max_length: int, *, packed: bool) -> tuple[Pair, Pair]:
    """Returns a row as long as the longest with a completion as long as the longest, and a mismatched pair like it.

    The pair has the same prompt if rows are packed, as it is read once then, and the longest prompt if they are padded.
    """
    longest = max(rows, key=lambda row: row.length)
    ids = np.concatenate([longest.prompt, longest.completion])
    completion = max(len(row.completion) for row in rows)
    own = _split(ids, completion)
    if packed:
        return own, (own[0], own[1][::-1].copy())
    mismatched = min(max_length, max(len(row.prompt) for row in rows) + completion)
    return own, _split(np.resize(ids, mismatched), completion)


def _split(ids: Ids, completion: int) -> Pair:
    prompt = max(1, len(ids) - completion)
    return ids[:prompt], ids[prompt:]


def measured_peak(
    work: Callable[[], None], weights: Mapping[str, nn.Parameter], policy: Any, device: torch.device
) -> float:
    """Returns the peak of bytes that `work` uses in addition to weights and gradients; infinite if memory runs out."""
    for weight in weights.values():  # gradients exist from the second micro-batch of a step on
        weight.grad = torch.zeros_like(weight)
    try:
        if device.type == "cpu":
            with _Alive(policy) as alive:
                work()
            return KEPT_BY_MALLOC * alive.peak
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    except Exception as error:
        if is_out_of_memory(error):
            return math.inf
        raise
    finally:
        for weight in weights.values():
            weight.grad = None
        if device.type == "cuda":
            torch.cuda.empty_cache()


class _Alive(TorchDispatchMode):
    """Counts the bytes of new tensors that are alive, and their peak."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        existing = [*policy.parameters(), *policy.buffers()]
        existing += [weight.grad for weight in policy.parameters() if weight.grad is not None]
        self._existing = {tensor.untyped_storage()._cdata for tensor in existing}
        self._bytes: dict[int, int] = {}
        self._now = 0
        self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor.untyped_storage())
        return result

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._existing and key not in self._bytes:
            self._bytes[key] = storage.nbytes()
            self._now += storage.nbytes()
            self.peak = max(self.peak, self._now)
            weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self._now -= self._bytes.pop(key)
