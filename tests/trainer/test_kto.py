"""KTO's reference point, and the properties that its paper claims for it."""

import random
from dataclasses import replace

import pytest
import torch
from thumbwheel.wire.recipe import ObjectiveName

from tests.trainer.judged import Completion, Judged, judged, log_probs, recipe_for, slopes
from worker.training.objectives import OBJECTIVES, Losses

KTO_LIKE: list[ObjectiveName] = ["kto", "apo_zero_unpaired", "tkto", "mo_kto"]
kto = OBJECTIVES["kto"].loss
RECIPE = recipe_for("kto")


def completion(r: float) -> Completion:
    return Completion(policy=(r - 50.0,), reference=(-50.0,), token_weights=(1.0,))


def row(r: float, mismatched: float | None, desirable: bool = True) -> Judged:
    label = 1.0 if desirable else -1.0
    partner = None if mismatched is None else completion(mismatched)
    return Judged(completion(r), partner, desirable, labels=(label, label))


def test_the_reference_point_is_clamped_after_the_mean_and_kept_raw_beside() -> None:
    below = kto(log_probs([row(0, -5) for _ in range(4)]), RECIPE)
    mixed = kto(log_probs([row(0, r) for r in (-6, 2, 2, 6)]), RECIPE)

    assert (float(below.z0), float(below.z0_raw)) == (0, -5)
    assert float(mixed.z0) == 1  # clamping each row first would give 2.5


def test_the_reference_point_is_clamped_after_the_sum_over_ranks() -> None:
    other_rank = torch.tensor([-6.0, 2.0], dtype=torch.float64)  # Σ r' and the number of rows

    ours = kto(log_probs([row(0, 4), row(0, 10)], over_ranks=lambda sums: sums + other_rank), RECIPE)

    assert float(ours.z0) == 2  # clamping on each rank first would give 3.5


def test_rows_without_a_partner_stay_out_of_the_reference_point() -> None:
    some = kto(log_probs([row(0, 1), row(0, 3), row(100, None), row(100, None)]), RECIPE)
    none = kto(log_probs([row(7, None)] * 4), RECIPE)

    assert float(some.z0) == 2
    assert float(none.z0) == 0
    assert none.loss_B.isfinite().all()


def test_what_stands_where_a_partner_is_missing_does_not_matter() -> None:
    given = log_probs([row(0, 1), row(0, None)])
    broken = replace(given, policy_mismatched_B=torch.tensor([-49.0, float("nan")], dtype=torch.float64))

    assert float(kto(broken, RECIPE).z0) == 1


def test_a_reference_point_that_is_no_number_is_not_hidden() -> None:
    given = log_probs([row(0, 1), row(0, 1)])
    broken = replace(given, policy_mismatched_B=torch.tensor([-49.0, float("nan")], dtype=torch.float64))

    ours = kto(broken, RECIPE)

    assert ours.z0.isnan()
    assert ours.loss_B.isnan().all()


def test_the_reference_point_has_no_gradient_and_no_row_weights() -> None:
    given = log_probs([replace(row(0, 1), weight=9.0), row(0, 3)])
    moving = replace(given, policy_mismatched_B=given.policy_mismatched_B.clone().requires_grad_())

    ours = kto(moving, RECIPE)

    assert not ours.z0.requires_grad
    assert float(ours.z0) == 2


@pytest.mark.parametrize("name", KTO_LIKE)
def test_extreme_rewards_saturate(name: ObjectiveName) -> None:
    """Checks proposition 4.1: as the reward of a row goes to ±∞, its gradient goes to 0."""
    objective, recipe = OBJECTIVES[name], recipe_for(name)

    def steepness(r: float) -> float:
        given = log_probs([row(r, None, desirable) for desirable in (True, False)])
        return float(slopes(objective.loss(given, recipe), given).abs().max())

    assert steepness(0) > 10 * steepness(20) > 100 * steepness(40) > 0
    assert steepness(0) > 10 * steepness(-20) > 100 * steepness(-40) > 0
    assert steepness(1e4) == steepness(-1e4) == 0


def test_saturated_losses_are_nought_or_lambda() -> None:
    ours: Losses = kto(
        log_probs([row(1e4, None), row(-1e4, None), row(1e4, None, False), row(-1e4, None, False)]), RECIPE
    )

    assert ours.loss_B.tolist() == pytest.approx([0, 1.7, 1.1, 0])


@pytest.mark.parametrize("noise", [0.1, 0.3, 0.5])
def test_symmetric_label_noise_scales_and_shifts_the_loss_and_nothing_else(noise: float) -> None:
    even = recipe_for("kto", lambda_desirable=1.0, lambda_undesirable=1.0)
    rows = [replace(each, weight=1.0) for each in judged()]

    clean = kto(log_probs(rows), even).loss_B
    flipped = kto(log_probs([replace(each, desirable=not each.desirable) for each in rows]), even).loss_B

    expected = (1 - noise) * clean + noise * flipped
    assert expected.tolist() == pytest.approx(((1 - 2 * noise) * clean + noise).tolist(), rel=1e-12)


@pytest.mark.parametrize("majority", [True, False])
def test_contradictory_labels_pull_towards_the_majority(majority: bool) -> None:
    """Checks theorem 4.3 for equal weights of both classes: three of five verdicts on one completion agree."""
    even = recipe_for("kto", lambda_desirable=1.0, lambda_undesirable=1.0)
    verdicts = [majority] * 3 + [not majority] * 2
    random.Random(0).shuffle(verdicts)
    given = log_probs([row(0.5, 0.2, desirable) for desirable in verdicts])

    slope = float(slopes(kto(given, even), given).sum())

    assert (slope < 0) is majority  # a step of descent raises or lowers the probability of the completion
