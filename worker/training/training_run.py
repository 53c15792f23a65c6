"""The parts of a training run that stay the same from its first step to its last: job, policy, plan, stop request."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from thumbwheel.wire.recipe import Recipe

from worker.training.data import batches
from worker.training.data.batches import BatchPlan, Block
from worker.training.job import Job
from worker.training.machine.process import Stopped, StopRequest
from worker.training.machine.ranks import Ranks
from worker.training.prepare import Start
from worker.training.watch.journal import Journal


@dataclass(frozen=True)
class TrainingRun:
    """One run, as the reference, the loop, the drift checks and the summary all see it."""

    job: Job
    start: Start
    plan: BatchPlan
    journal: Journal
    ranks: Ranks
    stop: StopRequest

    @classmethod
    def planned(cls, job: Job, start: Start, journal: Journal, ranks: Ranks, stop: StopRequest) -> "TrainingRun":
        """Returns the run with its plan of micro-batches."""
        return cls(job, start, _plan(job.recipe, start), journal, ranks, stop)

    @property
    def recipe(self) -> Recipe:
        return self.job.recipe

    @property
    def blocks_per_step(self) -> int:
        return self.recipe.batch_size // self.start.micro_batch_size

    @property
    def steps_per_epoch(self) -> int:
        return self.plan.steps_per_epoch(self.blocks_per_step)

    @property
    def total_steps(self) -> int:
        steps = self.recipe.epochs * self.steps_per_epoch
        return min(steps, self.recipe.max_steps or steps)

    def first_epoch(self) -> list[Block]:
        """Returns the blocks of the first epoch, or as many as `max_steps` allows.

        An epoch takes every block once, so these are all blocks that the run ever reads.
        """
        steps = self.plan.steps(0, self.blocks_per_step, self.recipe.seed)[: self.total_steps]
        return [block for step in steps for block in step]

    def steps_after(self, step: int) -> Iterator[list[Block]]:
        """Returns the blocks of each optimizer step from `step` + 1 to the last."""
        steps = self.plan.steps_after(step, self.blocks_per_step, self.recipe.seed)
        return islice(steps, self.total_steps - step)

    def stop_requested(self) -> bool:
        """Returns whether any rank has to stop. All ranks call it together."""
        return self.ranks.any(self.stop.requested)

    def raise_if_stopped(self) -> None:
        if self.stop_requested():
            raise Stopped


def _plan(recipe: Recipe, start: Start) -> BatchPlan:
    """Returns which rows make each micro-batch, and whose completion each row is mismatched with."""
    rows, objective = start.read.rows, start.objective
    if objective.data == "pairs":
        return batches.plan_pairs(rows, start.pairs, start.micro_batch_size, seed=recipe.seed)
    return batches.plan(
        rows,
        start.micro_batch_size,
        even_classes=recipe.balance == "batch",
        seed=recipe.seed,
        mismatched=objective.mismatched,
        only=[i for i, row in enumerate(rows) if row.desirable] if objective.data == "desirable rows" else None,
    )
