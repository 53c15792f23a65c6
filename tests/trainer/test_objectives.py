"""Properties of every objective: formula, gradient, row weights, ranks, and extreme inputs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import get_args

import pytest
import torch
from thumbwheel.wire.recipe import PAIRED, ObjectiveName
from torch import Tensor

from tests.trainer.formulas import LOSSES
from tests.trainer.judged import LABELS, Completion, Judged, judged, log_probs, recipe_for, slopes
from worker.training.objectives import OBJECTIVES, LogProbs, Losses

NAMES: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
BY_ROW = [name for name in NAMES if name not in PAIRED]
every_objective = pytest.mark.parametrize("name", NAMES)


def loss_of(name: ObjectiveName, given: LogProbs) -> Losses:
    return OBJECTIVES[name].loss(given, recipe_for(name))


def total(losses: Losses) -> float:
    return float(losses.loss_B.detach().sum())


def test_every_objective_of_the_recipe_is_there_and_takes_pairs_where_the_recipe_says_so() -> None:
    assert set(OBJECTIVES) == set(NAMES)
    assert {name for name, objective in OBJECTIVES.items() if objective.data == "pairs"} == PAIRED


@every_objective
@pytest.mark.parametrize("seed", range(4))
def test_losses_equal_the_formula(name: ObjectiveName, seed: int) -> None:
    rows = judged(seed=seed)

    ours = loss_of(name, log_probs(rows))

    assert ours.loss_B.tolist() == pytest.approx(LOSSES[name](rows, recipe_for(name)), rel=1e-12)


@every_objective
def test_the_gradient_equals_finite_differences(name: ObjectiveName) -> None:
    rows = judged()
    policy_N = torch.tensor([p for row in rows for p in row.own.policy], dtype=torch.float64, requires_grad=True)
    held: list[Tensor] = []

    def hold(sums: Tensor) -> Tensor:
        """Returns the first z0 and δ for every call, since they are not differentiated."""
        held[:] = held or [sums.detach()]
        return held[0]

    def losses(moved_N: Tensor) -> Tensor:
        return loss_of(name, log_probs(rows, policy_N=moved_N, over_ranks=hold)).loss_B

    assert torch.autograd.gradcheck(losses, (policy_N,))


@every_objective
def test_only_the_losses_have_a_gradient(name: ObjectiveName) -> None:
    given = log_probs(judged())

    ours = loss_of(name, given)

    assert ours.loss_B.requires_grad
    assert slopes(ours, given).abs().sum() > 0
    for figure in (ours.reward_B, ours.z0, ours.z0_raw, ours.running_2):
        assert figure is None or not figure.requires_grad


@every_objective
def test_rewards_are_given_row_by_row(name: ObjectiveName) -> None:
    rows, recipe = judged(), recipe_for(name)
    expected = {
        "sft": [row.own.lp / len(row.own.policy) for row in rows],
        "simpo": [recipe.beta * row.own.lp / len(row.own.policy) for row in rows],
        "orpo": [recipe.beta * row.own.lp / len(row.own.policy) for row in rows],
        "tkto": [recipe.beta * row.own.weighted_r for row in rows],
    }.get(name, [recipe.beta * row.own.r for row in rows])

    ours = loss_of(name, log_probs(rows))

    assert ours.reward_B.tolist() == pytest.approx(expected, rel=1e-12)


def whole(name: ObjectiveName, rows: list[Judged]) -> list[Judged]:
    """Returns the rows that one weight scales: the first pair, or the first row without partner, so that z0 stays."""
    return rows[:2] if name in PAIRED else [replace(rows[0], mismatched=None)]


@every_objective
def test_weight_two_is_the_same_row_twice(name: ObjectiveName) -> None:
    rows = judged()
    first = [replace(row, weight=1.0) for row in whole(name, rows)]
    rest = rows[len(first) :]

    heavy = loss_of(name, log_probs([*(replace(row, weight=2.0) for row in first), *rest]))
    twice = loss_of(name, log_probs([*first, *first, *rest]))

    assert total(heavy) == pytest.approx(total(twice), rel=1e-12)
    if heavy.running_2 is not None and twice.running_2 is not None:
        assert heavy.running_2.tolist() == pytest.approx(twice.running_2.tolist(), rel=1e-12)


@every_objective
def test_weight_nought_is_as_if_the_row_were_not_there(name: ObjectiveName) -> None:
    rows = judged()
    first = whole(name, rows)
    rest = rows[len(first) :]

    weightless = loss_of(name, log_probs([*(replace(row, weight=0.0) for row in first), *rest]))
    without = loss_of(name, log_probs(rest))

    assert total(weightless) == pytest.approx(total(without), rel=1e-12)
    if weightless.running_2 is not None and without.running_2 is not None:
        assert weightless.running_2.tolist() == pytest.approx(without.running_2.tolist(), rel=1e-12)


@pytest.mark.parametrize("name", sorted(PAIRED))
def test_a_pair_weighs_as_much_as_its_weaker_half(name: ObjectiveName) -> None:
    chosen, rejected = judged(2)

    uneven = loss_of(name, log_probs([replace(chosen, weight=0.25), replace(rejected, weight=4.0)]))
    even = loss_of(name, log_probs([replace(chosen, weight=0.25), replace(rejected, weight=0.25)]))

    assert uneven.loss_B.tolist() == even.loss_B.tolist()


@pytest.mark.parametrize("name", BY_ROW)
@pytest.mark.parametrize("desirable", [True, False])
def test_a_batch_of_one_class_is_no_special_case(name: ObjectiveName, desirable: bool) -> None:
    label = 1.0 if desirable else -1.0
    rows = [replace(row, desirable=desirable, labels=(label,) * len(LABELS)) for row in judged()]
    given = log_probs(rows)

    ours = loss_of(name, given)

    assert ours.loss_B.tolist() == pytest.approx(LOSSES[name](rows, recipe_for(name)), rel=1e-12)
    assert slopes(ours, given).isfinite().all()


EXTREMES = [(-1e4, 0.0), (0.0, -1e4), (-1e4, -1e4), (0.0, 0.0)]


@every_objective
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_log_probs_give_finite_losses_and_gradients(name: ObjectiveName, dtype: torch.dtype) -> None:
    completions = [Completion((p,), (q,), (1.0,)) for p, q in EXTREMES]
    rows = [
        Judged(own, mismatched, desirable, labels=(1.0 if desirable else -1.0, 0.0))
        for chosen in completions
        for rejected in completions
        for own, mismatched, desirable in ((chosen, rejected, True), (rejected, chosen, False))
    ]
    given = log_probs(rows, dtype=dtype)

    ours = loss_of(name, given)

    assert ours.loss_B.isfinite().all()
    assert slopes(ours, given).isfinite().all()


AT_THE_START = {
    "kto": [1.7 / 2, 1.1 / 2],
    "apo_zero_unpaired": [1.7 / 2, 1.1 / 2],
    "tkto": [1.7 / 2, 1.1 / 2],
    "mo_kto": [(0.7 * 1.3 + 2.0 * 1.6) / 2, 2.0 * 0.8 / 2],  # labels (+, −) and (0, +)
    "bco": [1.7 * math.log(2), 1.1 * math.log(2)],
    "ppo_clip": [-1.7, 1.1],
    "dpo": [math.log(2)],
    "ipo": [(1 / 0.6) ** 2],
    "slic": [1.0],
}


@pytest.mark.parametrize("name", AT_THE_START)
def test_while_the_policy_is_the_reference_losses_are_known_and_rewards_nought(name: ObjectiveName) -> None:
    def untrained(completion: Completion) -> Completion:
        return replace(completion, policy=completion.reference)

    rows = [
        replace(
            row,
            own=untrained(row.own),
            mismatched=row.mismatched and untrained(row.mismatched),
            weight=1.0,
            labels=(1.0, -1.0) if row.desirable else (0.0, 1.0),
        )
        for row in judged(4)
    ]

    ours = loss_of(name, log_probs(rows))

    assert ours.loss_B.tolist() == pytest.approx(AT_THE_START[name] * 2, rel=1e-12)
    assert ours.reward_B.tolist() == [0.0] * 4
    assert (float(ours.z0), float(ours.z0_raw)) == (0.0, 0.0)


def on_two_ranks(name: ObjectiveName, parts: Sequence[Sequence[Judged]]) -> list[Losses]:
    """Returns the losses of each part, with the sums of both added up as by an all-reduce."""

    def sums_of(part: Sequence[Judged]) -> list[Tensor]:
        summed: list[Tensor] = []

        def note(sums: Tensor) -> Tensor:
            summed.append(sums)
            return sums

        loss_of(name, log_probs(part, over_ranks=note))
        return summed

    first, second = (sums_of(part) for part in parts)
    added = [mine + theirs for mine, theirs in zip(first, second, strict=True)]  # each rank joins each exchange

    def losses(part: Sequence[Judged], answers: Iterator[Tensor]) -> Losses:
        return loss_of(name, log_probs(part, over_ranks=lambda _: next(answers)))

    return [losses(part, iter(added)) for part in parts]


@every_objective
@pytest.mark.parametrize("cut", [2, 4, 0])
def test_two_ranks_find_what_one_finds(name: ObjectiveName, cut: int) -> None:
    rows = judged()

    together = loss_of(name, log_probs(rows))
    apart = on_two_ranks(name, (rows[:cut], rows[cut:]))

    losses = [loss for part in apart for loss in part.loss_B.tolist()]
    assert losses == pytest.approx(together.loss_B.tolist(), rel=1e-12)
    for part in apart:
        assert float(part.z0) == pytest.approx(float(together.z0), rel=1e-12)
        if together.running_2 is not None and part.running_2 is not None:
            assert part.running_2.tolist() == pytest.approx(together.running_2.tolist(), rel=1e-12)


@every_objective
def test_a_rank_without_rows_has_no_loss_and_a_gradient_of_nothing(name: ObjectiveName) -> None:
    given = log_probs([])

    ours = loss_of(name, given)

    assert total(ours) == 0
    assert (float(ours.z0), float(ours.z0_raw)) == (0.0, 0.0)
    assert slopes(ours, given).shape == (0,)


@every_objective
def test_no_objective_waits_for_a_value_from_the_device(name: ObjectiveName) -> None:
    given = log_probs(judged(), dtype=torch.float32, device="meta")  # tensors without values: reading one raises

    ours = loss_of(name, given)

    assert ours.loss_B.device.type == "meta"
    assert ours.loss_B.dtype is torch.float32
    assert slopes(ours, given).device.type == "meta"
