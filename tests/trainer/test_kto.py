"""The objective against its formula, written down a second time, in float64 and without vectors."""

import math
from typing import Any

import pytest
import torch

from app.runs.recipe import Recipe
from tests.trainer import tiny
from worker.kto.objectives import OBJECTIVES, LogProbs, Losses

RECIPE = Recipe.model_validate({**tiny.RECIPE, "beta": 0.3, "lambda_desirable": 1.7, "lambda_undesirable": 1.1})
kto = OBJECTIVES["kto"].loss


def made(rows: int = 8, *, seed: int = 0, **changes: Any) -> LogProbs:
    generator = torch.Generator().manual_seed(seed)

    def values() -> torch.Tensor:
        return torch.randn(rows, generator=generator, dtype=torch.float64) * 3 - 20

    fields = {
        "policy_B": values().requires_grad_(),
        "reference_B": values(),
        "tokens_B": torch.arange(rows) + 5,
        "policy_mismatched_B": values() + 2,
        "reference_mismatched_B": values(),
        "paired_B": torch.ones(rows, dtype=torch.bool),
        "desirable_B": torch.arange(rows) % 3 == 0,
        "weight_B": torch.rand(rows, generator=generator, dtype=torch.float64) + 0.5,
    }
    return LogProbs(**{**fields, **changes})


def by_hand(given: LogProbs, recipe: Recipe) -> tuple[list[float], list[float], float]:
    """(w·L, reward, z0), with Python's floats, straight from the paper."""
    columns = zip(given.policy_mismatched_B, given.reference_mismatched_B, given.paired_B, strict=True)
    mismatched = [float(p) - float(q) for p, q, paired in columns if paired]
    z0 = max(0.0, sum(mismatched) / len(mismatched)) if mismatched else 0.0
    losses, rewards = [], []
    for p, q, good, weight in zip(
        given.policy_B.tolist(),
        given.reference_B.tolist(),
        given.desirable_B.tolist(),
        given.weight_B.tolist(),
        strict=True,
    ):
        margin = (p - q) - z0 if good else z0 - (p - q)
        value = 1 / (1 + math.exp(-recipe.beta * margin))
        losses.append(weight * float(recipe.lambda_desirable if good else recipe.lambda_undesirable) * (1 - value))
        rewards.append(recipe.beta * (p - q))
    return losses, rewards, z0


@pytest.mark.parametrize("seed", range(4))
def test_losses_rewards_and_reference_point_equal_the_formula(seed: int) -> None:
    given = made(seed=seed)

    ours = kto(given, RECIPE)

    losses, rewards, z0 = by_hand(given, RECIPE)
    assert ours.loss_B.tolist() == pytest.approx(losses, rel=1e-12)
    assert ours.reward_B.tolist() == pytest.approx(rewards, rel=1e-12)
    assert float(ours.z0) == pytest.approx(z0, rel=1e-12)


def test_the_gradient_equals_finite_differences_and_reaches_the_policy_alone() -> None:
    given = made()

    def loss(policy_B: torch.Tensor) -> torch.Tensor:
        fields = {**vars(given), "policy_B": policy_B}
        return kto(LogProbs(**fields), RECIPE).loss_B

    assert torch.autograd.gradcheck(loss, (given.policy_B,))
    ours = kto(made(policy_mismatched_B=torch.zeros(8, dtype=torch.float64, requires_grad=True)), RECIPE)
    assert not ours.z0.requires_grad


def test_the_reference_point_is_clamped_after_the_mean_and_kept_raw_beside() -> None:
    zero = torch.zeros(4, dtype=torch.float64)
    below = kto(made(4, policy_mismatched_B=zero - 5, reference_mismatched_B=zero), RECIPE)
    mixed = kto(made(4, policy_mismatched_B=zero + torch.tensor([-6, 2, 2, 6]), reference_mismatched_B=zero), RECIPE)

    assert (float(below.z0), float(below.z0_raw)) == (0, -5)
    assert float(mixed.z0) == 1  # clamping each row first would give 2.5


def test_rows_without_a_partner_stay_out_of_the_reference_point() -> None:
    zero = torch.zeros(4, dtype=torch.float64)
    given = {"policy_mismatched_B": torch.tensor([1.0, 3, 100, 100]).double(), "reference_mismatched_B": zero}

    some = kto(made(4, **given, paired_B=torch.tensor([True, True, False, False])), RECIPE)
    none = kto(made(4, **given, paired_B=torch.zeros(4, dtype=torch.bool)), RECIPE)

    assert float(some.z0) == 2
    assert float(none.z0) == 0
    assert none.loss_B.isfinite().all()


@pytest.mark.parametrize("desirable", [True, False])
def test_a_batch_of_one_class_gives_finite_losses_and_gradients(desirable: bool) -> None:
    given = made(desirable_B=torch.full((8,), desirable))

    ours = kto(given, RECIPE)
    ours.loss_B.sum().backward()

    assert ours.loss_B.tolist() == pytest.approx(by_hand(given, RECIPE)[0], rel=1e-12)
    assert given.policy_B.grad is not None
    assert given.policy_B.grad.isfinite().all()


def test_extreme_rewards_saturate_without_overflow() -> None:
    zero = torch.zeros(4, dtype=torch.float32)
    given = made(
        4,
        policy_B=torch.tensor([1e4, -1e4, 1e4, -1e4], requires_grad=True),
        reference_B=zero,
        policy_mismatched_B=zero,
        reference_mismatched_B=zero,
        desirable_B=torch.tensor([True, True, False, False]),
        weight_B=zero + 1,
    )

    ours: Losses = kto(given, RECIPE)

    assert ours.loss_B.tolist() == pytest.approx([0, 1.7, 1.1, 0])


def test_at_the_start_every_loss_is_half_its_lambda() -> None:
    same = torch.full((8,), -12.5, dtype=torch.float64)
    columns = ("policy_B", "reference_B", "policy_mismatched_B", "reference_mismatched_B")
    given = made(**dict.fromkeys(columns, same), weight_B=torch.ones_like(same))

    ours = kto(given, RECIPE)

    assert float(ours.z0) == 0
    assert ours.reward_B.tolist() == [0] * 8
    assert ours.loss_B.tolist() == pytest.approx([0.85 if good else 0.55 for good in given.desirable_B])
