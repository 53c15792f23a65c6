"""Before the first update the policy equals the reference: a difference is a bug and raises."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from thumbwheel.wire.recipe import ObjectiveName, Recipe

from tests.trainer import tiny
from worker.training.objectives import OBJECTIVES, LogProbs, TokenLogProbs
from worker.training.watch.guards import assert_policy_is_reference

LP = torch.tensor([-12.0, -40.0, -3.0, -25.0])


def at_start(rows: int = 4) -> LogProbs:
    """Returns log-probs that are the same under policy and reference."""
    each = torch.arange(rows).repeat_interleave(2)
    tokens = TokenLogProbs(LP[each] / 2, LP[each] / 2, each, torch.tensor([5.0, 0.5])[torch.arange(2 * rows) % 2])
    return LogProbs(
        policy_B=LP[:rows],
        reference_B=LP[:rows].clone(),
        tokens_B=torch.full((rows,), 2.0),
        desirable_B=torch.tensor([True, False, False, True])[:rows],
        weight_B=torch.tensor([1.0, 0.5, 2.0, 0.0])[:rows],
        policy_mismatched_B=LP[:rows] - 1,
        reference_mismatched_B=LP[:rows] - 1,
        paired_B=torch.tensor([True, True, True, False])[:rows],
        tokens=tokens,
        mismatched_tokens=tokens,
        labels_BK=torch.ones((rows, 1)),
        running_2=torch.zeros(2, dtype=torch.float64),
    )


def check(objective: ObjectiveName, log_probs: LogProbs, precision: torch.dtype = torch.float32) -> None:
    labels: dict[str, Any] = {"labels": [{"name": "true"}]} if objective == "mo_kto" else {}
    recipe = Recipe.model_validate({**tiny.RECIPE, "lambda_desirable": 1.0, "objective": objective, **labels})
    assert_policy_is_reference(log_probs, OBJECTIVES[objective].loss(log_probs, recipe), recipe, precision)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_policy_that_is_the_reference_passes(objective: ObjectiveName) -> None:
    check(objective, at_start())


@pytest.mark.parametrize("objective", [name for name, objective in OBJECTIVES.items() if objective.data != "pairs"])
def test_a_rank_without_a_share_passes(objective: ObjectiveName) -> None:
    check(objective, at_start(rows=0))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_policy_that_is_another_crashes_where_there_is_a_reference(objective: ObjectiveName) -> None:
    moved = replace(at_start(), policy_B=LP + 0.01)

    if OBJECTIVES[objective].reference:
        with pytest.raises(AssertionError, match=r"r must be 0, it reaches 0\.01"):
            check(objective, moved)
        check(objective, moved, torch.bfloat16)  # in which the difference is below the precision
    else:
        check(objective, moved)


@pytest.mark.parametrize("objective", ["kto", "mo_kto"])
def test_a_reference_point_that_is_not_0_crashes(objective: ObjectiveName) -> None:
    with pytest.raises(AssertionError, match=r"z0 must be 0, it is -0\.02"):
        check(objective, replace(at_start(), policy_mismatched_B=LP - 1.02))


def test_a_loss_that_is_not_half_of_lambda_crashes() -> None:
    recipe = Recipe.model_validate(tiny.RECIPE)
    losses = OBJECTIVES["kto"].loss(at_start(), recipe)

    with pytest.raises(AssertionError, match=r"L must be λ/2, it is off by 0\.1"):
        assert_policy_is_reference(at_start(), replace(losses, loss_B=losses.loss_B + 0.1), recipe, torch.float32)
