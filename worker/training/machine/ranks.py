"""Several processes that train one policy together: `torchrun -m worker.training.train WORKDIR`.

Every rank holds the whole policy and takes its share of each micro-batch's rows. Sums over a micro-batch (z0, the
running mean of bco, how often experts are chosen) and gradients are added up over the ranks, so that two ranks learn
what one does, but for the rounding of sums. A rank whose share is empty takes part in every exchange: nobody waits for
it.

Rank 0 alone writes. A refusal or the wish to stop on one rank ends all of them.
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
from worker.training.machine.process import Refusal


@dataclass(frozen=True)
class Ranks:
    rank: int = 0
    world: int = 1

    @classmethod
    @contextmanager
    def join(cls) -> Iterator["Ranks"]:
        """The ranks that torchrun's environment names, or this process alone."""
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
        """This rank's rows of `block`, in units of so many rows that stay together."""
        if self.world == 1:
            return block
        slots = [
            slot
            for start in range(self.rank * unit, len(block.rows), self.world * unit)
            for slot in range(start, min(start + unit, len(block.rows)))
        ]
        return Block(tuple(block.rows[slot] for slot in slots), tuple(block.partners[slot] for slot in slots))

    def sum(self, values: Tensor) -> Tensor:
        """Over all ranks; without gradient."""
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
        """Whether one rank claims it."""
        if self.world == 1:
            return claim
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        return bool(self.sum(torch.tensor(float(claim), device=device)) > 0)

    def gather(self, values: Mapping[Any, Any]) -> dict[Any, Any]:
        """What all ranks know together."""
        if self.world == 1:
            return dict(values)
        of_ranks: list[Any] = [None] * self.world
        dist.all_gather_object(of_ranks, dict(values))
        return {key: value for known in of_ranks for key, value in known.items()}

    @contextmanager
    def together(self) -> Iterator[None]:
        """A refusal in the block on one rank is raised on all."""
        refusals: dict[int, tuple[str, str]] = {}
        try:
            yield
        except Refusal as refusal:
            if self.world == 1:
                raise
            refusals[self.rank] = (refusal.code, refusal.message)
        if self.any(bool(refusals)):
            raise Refusal(*min(self.gather(refusals).items())[1])
