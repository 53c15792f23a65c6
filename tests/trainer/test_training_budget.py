"""`max_tokens` and `prompt_share` limit what is learnt from; without them the plan is the same to the bit."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from thumbwheel.wire.recipe import Recipe

from worker.training.data import batches
from worker.training.data.rows import Row
from worker.training.machine.process import TrainingRefusal
from worker.training.objectives import OBJECTIVES
from worker.training.training_run import TrainingRun, is_within_share

#: Two completions, one of them desirable, to each of 100 prompts.
ROWS = [
    Row(
        prompt=np.full(3, number // 2, dtype=np.int32),
        completion=np.array([number, 0], dtype=np.int32),
        desirable=number % 2 == 0,
        weight=1.0,
        completion_id=str(number),
        prompt_key=f"prompt {number // 2}".encode(),
    )
    for number in range(200)
]
PAIRS = [(number, number + 1) for number in range(0, 200, 2)]


def planned(**changes: Any) -> TrainingRun:
    recipe = Recipe(**{"batch_size": 8, "micro_batch_size": 4, **changes})
    start = SimpleNamespace(
        read=SimpleNamespace(rows=ROWS), pairs=PAIRS, objective=OBJECTIVES[recipe.objective], micro_batch_size=4
    )
    unused = cast(Any, None)
    return TrainingRun.planned(cast(Any, SimpleNamespace(recipe=recipe)), cast(Any, start), unused, unused, unused)


def rows_of(run: TrainingRun) -> set[int]:
    return {row for block in run.plan.blocks for row in block.rows}


def tokens_of(run: TrainingRun) -> int:
    return sum(ROWS[row].length for blocks in run.steps_after(0) for block in blocks for row in block.rows)


@pytest.mark.parametrize("objective", ["kto", "sft", "dpo"])
def test_training_ends_before_the_step_that_would_exceed_the_tokens(objective):
    run = planned(objective=objective, max_tokens=333, epochs=3)

    assert tokens_of(run) == 8 * 40  # a step has 8 rows of 5 tokens
    assert run.total_steps == 8
    assert planned(objective=objective, max_tokens=10**9).total_steps == planned(objective=objective).total_steps


def test_tokens_of_several_epochs_are_counted_and_the_smallest_limit_holds():
    assert planned(max_tokens=1200, epochs=3).total_steps == 30  # an epoch has 25 steps
    assert planned(max_tokens=1200, epochs=3, max_steps=7).total_steps == 7


def test_too_few_tokens_for_one_step_are_refused_with_the_number_that_it_takes():
    with pytest.raises(TrainingRefusal, match="the first optimizer step takes 40 tokens, 39 are allowed: raise it"):
        _ = planned(max_tokens=39).total_steps


def test_every_objective_learns_from_the_same_prompts_whatever_the_seed():
    kept = {number for number, row in enumerate(ROWS) if is_within_share(row.prompt_key, 0.5)}
    assert 60 < len(kept) < 140

    assert rows_of(planned(prompt_share=0.5)) == rows_of(planned(prompt_share=0.5, seed=7)) == kept
    assert rows_of(planned(prompt_share=0.5, objective="dpo")) == kept
    assert rows_of(planned(prompt_share=0.5, objective="sft")) == {number for number in kept if number % 2 == 0}
    assert rows_of(planned(prompt_share=0.5, balance="batch")) == kept
    assert planned(prompt_share=0.5, objective="dpo").plan.pairs == len(kept) // 2


def test_a_larger_share_adds_to_a_smaller_one():
    shares = [rows_of(planned(prompt_share=share)) for share in (0.2, 0.5, 0.9, 1.0)]

    assert all(small < large for small, large in pairwise(shares))
    assert len(shares[-1]) == 200


def test_the_whole_share_is_the_plan_without_one():
    assert planned(prompt_share=1.0).plan == batches.plan(ROWS, 4, even_classes=False, seed=42)


@pytest.mark.parametrize("objective", ["kto", "sft", "dpo"])
def test_a_share_with_too_few_rows_is_refused_with_the_remedy(objective):
    with pytest.raises(TrainingRefusal, match=r"prompt_share: 1e-09 of the training prompts have 0 .*: raise it"):
        planned(prompt_share=1e-9, objective=objective)
