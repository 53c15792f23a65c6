"""The start of training: rows as token ids, the policy as the shipped checkpoint, how many rows fit at once.

Nothing in here is worth saving when it is interrupted: the next attempt does it again.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from worker.training import refusals
from worker.training.adamw import adamw
from worker.training.data import dropped
from worker.training.data.rows import TokenisedRows, read_pairs, read_rows
from worker.training.data.tokens import Tokens
from worker.training.forward.logprobs import Reading
from worker.training.forward.packed_or_padded import is_compiled, reading_of, tried
from worker.training.job import Job
from worker.training.machine.free_memory import free_bytes
from worker.training.machine.memory import decided_micro_batch, measured_micro_batch
from worker.training.machine.out_of_memory import remedies
from worker.training.machine.process import whatever_the_rows
from worker.training.machine.ranks import Ranks
from worker.training.models import policy as models
from worker.training.objectives import OBJECTIVES, Objective


@dataclass(frozen=True)
class Start:
    objective: Objective
    arithmetic: models.Arithmetic
    tokens: Tokens
    context: int | None  # tokens that the base model was made for, where it says
    max_length: int
    read: TokenisedRows
    dropped: dict[str, Any]  # what training.json says of dropped rows
    pairs: list[tuple[int, int]]
    policy: Any
    weights: dict[str, nn.Parameter]  # the trained ones
    optimizer: torch.optim.Optimizer
    router_coefficient: float
    reading: Reading
    compiled: bool
    micro_batch_size: int
    memory: dict[str, Any] | None  # what the micro-batch was chosen by, where it was measured

    @property
    def activations_computed_twice(self) -> bool:
        return bool(self.memory and self.memory["activations_computed_twice"])


def prepared(job: Job, ranks: Ranks) -> Start:
    """Raises `TrainingRefusal` on anything an operator can mend, want of memory for a single row too."""
    remedy = f"take a smaller base model, {remedies(job.recipe)}"
    with whatever_the_rows(f"base_model: the weights in {job.base} and one row", remedy):
        return _prepared(job, ranks)


def _prepared(job: Job, ranks: Ranks) -> Start:
    workdir, recipe = job.workdir, job.recipe

    # Rows as token ids.
    models.ask_for_determinism()
    objective = OBJECTIVES[recipe.objective]
    refusals.require_possible_job(job)
    arithmetic = models.Arithmetic.of(recipe)
    device = arithmetic.device
    context = models.context_length(job.base)
    tokens = models.load_tokens(job.base)
    max_length = min(recipe.max_length, context or recipe.max_length)
    vocabulary = models.vocabulary(job.base)
    weigh_tokens = recipe.objective == "tkto"
    read = read_rows(
        workdir / "snapshot",
        job.trained_shards,
        tokens,
        max_length,
        weigh_tokens=weigh_tokens,
        kept_weight=recipe.edit_kept_weight,
        tokenised=dropped.tokens_file(workdir, "train"),
        keeps=ranks.writes,
        vocabulary=vocabulary,
    )
    about_dropped = dropped.checked(job, read, tokens, max_length, vocabulary, writes=ranks.writes)
    rows = read.rows
    pairs = read_pairs(workdir / "snapshot", job.pairs, read, recipe.pairs) if objective.data == "pairs" else []
    refusals.require_possible_rows(job, read, pairs, max_length)

    # The policy starts as the shipped checkpoint; the optimizer's state is loaded once the reference is scored.
    torch.manual_seed(recipe.seed)
    with ranks.together():
        policy = models.load_policy(job, arithmetic)
    weights = models.trained_weights(policy)
    optimizer = adamw(weights, recipe)

    # How the policy is read, and how many rows at once.
    router_coefficient = models.router_coefficient(policy)
    reading = Reading.plain(policy, arithmetic.precision)
    if recipe.packing == "auto":
        reading = reading_of(policy, tried(rows, max_length), arithmetic.precision, list(weights.values()))

    def measure() -> tuple[int, dict[str, Any]]:
        return measured_micro_batch(
            reading,
            weights,
            rows,
            recipe,
            arithmetic,
            max_length,
            ranks,
            free=free_bytes(device),
            at_most=refusals.rows_of_an_epoch(recipe, read, pairs),
            router_loss=router_coefficient > 0,
        )

    micro_batch_size, memory = decided_micro_batch(job, ranks, measure)
    if recipe.activation_checkpointing == "on" or (memory is not None and memory["activations_computed_twice"]):
        reading = reading.recomputing()
    compiled = recipe.compile and is_compiled(reading, tried(rows, max_length))
    return Start(
        objective=objective,
        arithmetic=arithmetic,
        tokens=tokens,
        context=context,
        max_length=max_length,
        read=read,
        dropped=about_dropped,
        pairs=pairs,
        policy=policy,
        weights=weights,
        optimizer=optimizer,
        router_coefficient=router_coefficient,
        reading=reading,
        compiled=compiled,
        micro_batch_size=micro_batch_size,
        memory=memory,
    )
