"""Our side: reads rows as the trainer does and computes the loss of one block as its loop does."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from thumbwheel.wire.recipe import Recipe

from tests.parity.cases import MAX_LENGTH, RowDict
from tests.parity.compare import Figures, Table, both_ways, gradients
from tests.trainer import tiny
from worker.training.data.batches import Block
from worker.training.data.rows import Row, read_rows
from worker.training.data.tokens import Tokens
from worker.training.forward.logprobs import Reading
from worker.training.job import Shard
from worker.training.machine.ranks import Ranks
from worker.training.microbatch import Collator
from worker.training.models.policy import router_coefficient
from worker.training.objectives import OBJECTIVES
from worker.training.reference import ReferenceScores
from worker.training.reference_scoring import score_block


def recipe_of(objective: str, **changes: Any) -> Recipe:
    return Recipe.model_validate({**tiny.RECIPE, "lambda_desirable": 1.0, "objective": objective, **changes})


def tokenised(rows: Sequence[RowDict], max_length: int = MAX_LENGTH) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        shard = Shard(split="train", **tiny.write_shard(Path(folder) / "rows.parquet", rows))
        return read_rows(Path(folder), [shard], Tokens(tiny.tokenizer(), None), max_length).rows


def rotated(count: int) -> Block:
    """Returns one block in which row i borrows the completion of row i − 1, as in TRL."""
    return Block(tuple(range(count)), tuple((row - 1) % count for row in range(count)))


def figures(
    policy: Any,
    reference: Any,
    rows: Sequence[RowDict],
    recipe: Recipe,
    *,
    precision: torch.dtype = torch.float32,
    packed: bool = True,
) -> Figures:
    """Computes the figures of all `rows` as one micro-batch and one optimizer step.

    reference  the model that scores lp_ref
    packed     rows are packed, as in training; else padded, with the model's own head
    """
    objective, read = OBJECTIVES[recipe.objective], tokenised(rows)
    block = rotated(len(read)) if objective.mismatched else Block(tuple(range(len(read))), (None,) * len(read))
    policy.zero_grad(set_to_none=True)

    def collator(model: Any) -> Collator:
        return Collator(Reading(model, precision, packed=packed, chunked=packed), read, recipe, MAX_LENGTH, Ranks())

    scored = ReferenceScores("")
    if objective.reference:
        score_block(scored, block, collator(reference))
    reads = collator(policy)
    batch = reads.collate(block, scored)
    own, other = reads.reading.forward(batch.inputs, router_loss=router_coefficient(policy) > 0)
    running_2 = torch.zeros(2, dtype=torch.float64) if objective.running else None
    log_probs = batch.log_probs(own, other, running_2, reads.ranks)
    losses = objective.loss(log_probs, recipe)
    loss = losses.loss_B.sum() / len(losses.loss_B)
    if own.router_loss is not None:
        loss = loss + router_coefficient(policy) * own.router_loss
    loss.backward()

    numbers: dict[str, float] = {"loss": loss.item()}
    if objective.mismatched:
        numbers["z0"] = float(losses.z0)
    numbers |= _rewards(losses.reward_B, log_probs.desirable_B)
    return Figures(numbers, gradients(policy))


def beside(
    theirs: Figures, policy: Any, reference: Any, rows: Sequence[RowDict], recipe: Recipe, *, loss_alone: bool = False
) -> Table:
    """Compares our padded and our packed figures with `theirs`. `loss_alone`: they have no other number."""
    ways = [figures(policy, reference, rows, recipe, packed=packed) for packed in (False, True)]
    if loss_alone:
        ways = [Figures({"loss": way.numbers["loss"]}, way.gradients) for way in ways]
    return both_ways(*ways, theirs)


def _rewards(reward_B: torch.Tensor, desirable_B: torch.Tensor) -> Mapping[str, float]:
    by_class = {"reward of desirable": reward_B[desirable_B], "reward of undesirable": reward_B[~desirable_B]}
    return {name: float(rewards.mean()) for name, rewards in by_class.items() if len(rewards)}
