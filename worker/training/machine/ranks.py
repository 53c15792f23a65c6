"""Several processes that train one policy together: `torchrun -m worker.training.train WORKDIR`.

Every rank holds the whole policy and computes its share of each micro-batch's rows. Sums over a micro-batch (z0, the
running mean of bco, the counts of chosen experts) and gradients are added up over the ranks. Several ranks thus learn
the same as one, except for the rounding of sums. A rank whose share is empty takes part in every exchange, so that no
other rank waits for it.

Only rank 0 writes. A refusal or a request to stop on one rank ends all of them.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from worker.training.data.batches import Block
from worker.training.machine.process import TrainingRefusal


@dataclass(frozen=True)
class Ranks:
    rank: int = 0
    world: int = 1

    @classmethod
    @contextmanager
    def join(cls) -> Iterator["Ranks"]:
        """Joins the ranks that torchrun's environment names; yields this one, or the only one without torchrun."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            yield cls()
            return
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if on_gpu else "gloo")
        try:
            yield cls(dist.get_rank(), world)
        finally:
            dist.destroy_process_group()

    @property
    def writes(self) -> bool:
        return self.rank == 0

    def share(self, block: Block, unit: int) -> Block:
        """Returns this rank's rows of `block`; each `unit` consecutive rows stay together."""
        if self.world == 1:
            return block
        slots = [
            slot
            for start in range(self.rank * unit, len(block.rows), self.world * unit)
            for slot in range(start, min(start + unit, len(block.rows)))
        ]
        return Block(tuple(block.rows[slot] for slot in slots), tuple(block.partners[slot] for slot in slots))

    def sum(self, values: Tensor) -> Tensor:
        """Returns the sum over all ranks, without gradient."""
        if self.world == 1:
            return values
        total = values.detach().clone()
        dist.all_reduce(total)
        return total

    def sum_gradients(self, weights: Iterable[nn.Parameter]) -> None:
        if self.world == 1:
            return
        for weight in weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            dist.all_reduce(weight.grad)

    def any(self, claim: bool) -> bool:
        """Returns whether `claim` is true on at least one rank."""
        if self.world == 1:
            return claim
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        return bool(self.sum(torch.tensor(float(claim), device=device)) > 0)

    def gather(self, values: Mapping[Any, Any]) -> dict[Any, Any]:
        """Returns the merged mappings of all ranks."""
        if self.world == 1:
            return dict(values)
        of_ranks: list[Any] = [None] * self.world
        dist.all_gather_object(of_ranks, dict(values))
        return {key: value for mapping in of_ranks for key, value in mapping.items()}

    @contextmanager
    def together(self) -> Iterator[None]:
        """Raises a refusal of one rank in the block on all ranks."""
        refusals: dict[int, tuple[str, str]] = {}
        try:
            yield
        except TrainingRefusal as refusal:
            if self.world == 1:
                raise
            refusals[self.rank] = (refusal.code, refusal.message)
        if self.any(bool(refusals)):
            raise TrainingRefusal(*min(self.gather(refusals).items())[1])
