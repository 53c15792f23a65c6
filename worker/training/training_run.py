"""The parts of a training run that stay the same from its first step to its last: job, policy, plan, stop request."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from thumbwheel.wire.recipe import Recipe

from worker.training.data import batches
from worker.training.data.batches import BatchPlan, Block
from worker.training.job import Job
from worker.training.machine.process import Stopped, StopRequest, TrainingRefusal
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

    @cached_property
    def total_steps(self) -> int:
        """Returns the number of optimizer steps. Raises `TrainingRefusal` if `max_tokens` does not allow any."""
        steps = self.recipe.epochs * self.steps_per_epoch
        steps = min(steps, self.recipe.max_steps or steps)
        if self.recipe.max_tokens is None:
            return steps
        rows, tokens = self.start.read.rows, 0
        planned = self.plan.steps_after(0, self.blocks_per_step, self.recipe.seed)
        for step, blocks in enumerate(islice(planned, steps)):
            tokens += sum(rows[row].length for block in blocks for row in block.rows)
            if tokens > self.recipe.max_tokens:
                if step == 0:
                    raise _too_few_tokens(self.recipe.max_tokens, tokens)
                return step
        return steps

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
    if recipe.prompt_share < 1:
        return _plan_of_share(recipe, start)
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


def _plan_of_share(recipe: Recipe, start: Start) -> BatchPlan:
    """Returns the plan of the rows on `prompt_share` of the prompts. Raises `TrainingRefusal` if they are too few."""
    rows, objective = start.read.rows, start.objective
    kept = {index for index, row in enumerate(rows) if is_within_share(row.prompt_key, recipe.prompt_share)}
    if objective.data == "pairs":
        pairs = [pair for pair in start.pairs if kept.issuperset(pair)]
        _require_enough(recipe, len(pairs), 1, "pairs")
        return batches.plan_pairs(rows, pairs, start.micro_batch_size, seed=recipe.seed)
    if objective.data == "desirable rows":
        kept = {index for index in kept if rows[index].desirable}
    elif len({rows[index].desirable for index in kept}) < 2:
        _require_enough(recipe, 0, 2, "rows of both classes")
    _require_enough(recipe, len(kept), 2, "rows")
    return batches.plan(
        rows,
        start.micro_batch_size,
        even_classes=recipe.balance == "batch",
        seed=recipe.seed,
        mismatched=objective.mismatched,
        only=sorted(kept),
    )


def is_within_share(prompt_key: bytes, share: float) -> bool:
    """Returns whether the prompt of this key belongs to this share of all prompts."""
    number = int.from_bytes(hashlib.sha256(b"prompt_share" + prompt_key).digest()[:8])
    return number < share * 2**64


def _require_enough(recipe: Recipe, have: int, need: int, what: str) -> None:
    if have < need:
        raise TrainingRefusal(
            "prompt_share",
            f"recipe.json: prompt_share: {recipe.prompt_share:g} of the training prompts have {have} {what}: raise it, "
            "or collect more feedback",
        )


def _too_few_tokens(most: int, needed: int) -> TrainingRefusal:
    return TrainingRefusal(
        "max_tokens",
        f"recipe.json: max_tokens: the first optimizer step takes {needed:,} tokens, {most:,} are allowed: raise it, "
        "or lower batch_size",
    )
