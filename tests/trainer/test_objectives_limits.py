"""Properties of single objectives: limits in which they equal another one, and the ends of their gradients."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from thumbwheel.wire.recipe import ObjectiveName

from tests.trainer.judged import Completion, Judged, judged, log_probs, recipe_for, slopes
from worker.training.objectives import OBJECTIVES
from worker.training.objectives.orpo import log_odds


def losses_of(name: ObjectiveName, rows: Sequence[Judged], **recipe: Any) -> list[float]:
    losses: list[float] = OBJECTIVES[name].loss(log_probs(rows), recipe_for(name, **recipe)).loss_B.tolist()
    return losses


def one_token(r: float, desirable: bool) -> Judged:
    return Judged(Completion((r - 30.0,), (-30.0,), (1.0,)), None, desirable)


# --- APO, token weights and several labels are KTO in their limits ----------------------------------------------------


def test_apo_is_kto_where_no_row_has_a_partner() -> None:
    alone = [replace(row, mismatched=None) for row in judged()]

    assert losses_of("apo_zero_unpaired", alone) == losses_of("kto", alone)


def test_apo_does_not_look_at_mismatched_completions() -> None:
    rows = judged()

    assert losses_of("apo_zero_unpaired", rows) == losses_of(
        "apo_zero_unpaired", [replace(row, mismatched=None) for row in rows]
    )


def weighted(completion: Completion, weight: float) -> Completion:
    return replace(completion, token_weights=(weight,) * len(completion.policy))


def test_token_weights_of_one_give_kto() -> None:
    rows = [
        replace(row, own=weighted(row.own, 1), mismatched=row.mismatched and weighted(row.mismatched, 1))
        for row in judged()
    ]

    assert losses_of("tkto", rows) == pytest.approx(losses_of("kto", rows), rel=1e-12)


def test_a_token_of_weight_nought_neither_counts_nor_learns() -> None:
    completion = Completion(policy=(-1.0, -2.0), reference=(-1.5, -1.0), token_weights=(1.0, 0.0))
    moved = replace(completion, policy=(-1.0, -9.0))
    given = log_probs([Judged(completion, None, desirable=True)])

    ours = OBJECTIVES["tkto"].loss(given, recipe_for("tkto"))
    first, second = slopes(ours, given).tolist()

    assert losses_of("tkto", [Judged(moved, None, desirable=True)]) == ours.loss_B.tolist()
    assert first < 0
    assert second == 0


def test_one_label_of_weight_one_gives_kto() -> None:
    rows = [replace(row, labels=(1.0 if row.desirable else -1.0, 0.0)) for row in judged()]
    terms = [{"name": "helpful", "lambda_desirable": 1.7, "lambda_undesirable": 1.1}, {"name": "honest"}]

    assert losses_of("mo_kto", rows, labels=terms) == losses_of("kto", rows)


def test_the_loss_of_several_labels_is_linear_in_their_weights() -> None:
    rows = judged()
    first = [replace(row, labels=(row.labels[0], 0.0)) for row in rows]
    second = [replace(row, labels=(0.0, row.labels[1])) for row in rows]

    def weighing(one: float, other: float) -> list[dict[str, object]]:
        return [{"name": "helpful", "weight": one, "lambda_desirable": 1.3}, {"name": "honest", "weight": other}]

    both = losses_of("mo_kto", rows, labels=weighing(0.7, 2.0))

    ones = losses_of("mo_kto", first, labels=weighing(1.0, 1.0))
    others = losses_of("mo_kto", second, labels=weighing(1.0, 1.0))
    assert both == pytest.approx([0.7 * one + 2.0 * other for one, other in zip(ones, others, strict=True)], rel=1e-12)


def test_a_row_without_labels_has_no_loss_of_several_labels() -> None:
    assert losses_of("mo_kto", [replace(row, labels=(0.0, 0.0)) for row in judged()]) == [0.0] * 8


# --- BCO: δ ----------------------------------------------------------------------------------------------------------


def test_bco_shifts_by_the_mean_reward_of_all_micro_batches_so_far() -> None:
    rows, recipe = judged(12), recipe_for("bco")

    first = OBJECTIVES["bco"].loss(log_probs(rows[:4]), recipe)
    assert first.running_2 is not None
    total, count = first.running_2.tolist()
    second = OBJECTIVES["bco"].loss(log_probs(rows[4:], running=(total, count)), recipe)

    assert second.running_2 is not None
    delta = float(second.running_2[0] / second.running_2[1])
    weights = sum(row.weight for row in rows)
    assert delta == pytest.approx(sum(row.weight * 0.3 * row.own.r for row in rows) / weights, rel=1e-12)
    lead = 0.3 * rows[4].own.r - delta  # a desirable row
    assert second.loss_B.tolist()[0] == pytest.approx(rows[4].weight * 1.7 * math.log1p(math.exp(-lead)), rel=1e-12)


def test_bco_keeps_the_sum_of_rewards_in_float64_when_it_trains_in_float32() -> None:
    count = 2.0**30  # a number of rows to which float32 cannot add four

    ours = OBJECTIVES["bco"].loss(
        log_probs([one_token(1.0, True)] * 4, dtype=torch.float32, running=(0.0, count)), recipe_for("bco")
    )

    assert ours.running_2 is not None
    assert ours.running_2[1] == count + 4
    assert ours.loss_B.dtype is torch.float32


def test_how_rows_are_split_into_micro_batches_is_no_matter_to_the_mean_reward_even_in_float32() -> None:
    rows, recipe = judged(64), recipe_for("bco")

    together = OBJECTIVES["bco"].loss(log_probs(rows, dtype=torch.float32), recipe).running_2
    split = (0.0, 0.0)
    for start in range(0, 64, 4):
        given = log_probs(rows[start : start + 4], dtype=torch.float32, running=split)
        running_2 = OBJECTIVES["bco"].loss(given, recipe).running_2
        assert running_2 is not None
        split = (float(running_2[0]), float(running_2[1]))

    assert together is not None
    assert split == pytest.approx(tuple(together.tolist()), rel=1e-12)


def test_bco_with_nothing_but_weightless_rows_shifts_by_nought() -> None:
    weightless = [replace(row, weight=0.0) for row in judged(4)]

    ours = OBJECTIVES["bco"].loss(log_probs(weightless), recipe_for("bco"))

    assert ours.loss_B.tolist() == [0.0] * 4
    assert ours.running_2 is not None
    assert ours.running_2.tolist() == [0.0, 0.0]


# --- where gradients end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "desirable", "slope"),
    [
        (1.0, True, -1.7),
        (1.1, True, -1.7 * 1.1),
        (1.3, True, 0.0),  # the probability rose by more than clip_range: enough
        (0.5, True, -1.7 * 0.5),  # moved the wrong way: pulled back
        (1.0, False, 1.1),
        (0.9, False, 1.1 * 0.9),
        (0.7, False, 0.0),
        (2.0, False, 1.1 * 2.0),
    ],
)
def test_ppo_gives_no_gradient_beyond_the_clip_range(ratio: float, desirable: bool, slope: float) -> None:
    given = log_probs([one_token(math.log(ratio), desirable)])

    ours = OBJECTIVES["ppo_clip"].loss(given, recipe_for("ppo_clip", clip_range=0.2))

    assert slopes(ours, given).tolist() == pytest.approx([slope], rel=1e-12)


def test_ppo_weighs_each_token_of_a_row_alike() -> None:
    short = Judged(Completion((-1.0,), (-1.2,), (1.0,)), None, desirable=False)
    long = Judged(Completion((-1.0,) * 7, (-1.2,) * 7, (1.0,) * 7), None, desirable=False)

    once, often = losses_of("ppo_clip", [short, long])

    assert once == pytest.approx(often, rel=1e-12)


@pytest.mark.parametrize(("lead", "expected"), [(0.0, 1.0), (2.0, 0.4), (1 / 0.3, 0.0), (50.0, 0.0), (-2.0, 1.6)])
def test_slic_is_content_with_a_lead_of_one_over_beta(lead: float, expected: float) -> None:
    assert losses_of("slic", [one_token(lead, True), one_token(0.0, False)]) == pytest.approx([expected], abs=1e-12)


def test_ipo_wants_a_lead_of_one_over_two_beta_and_no_more() -> None:
    wanted = 1 / (2 * 0.3)

    def loss(lead: float) -> float:
        return losses_of("ipo", [one_token(lead, True), one_token(0.0, False)])[0]

    assert loss(wanted) == pytest.approx(0, abs=1e-24)
    assert loss(wanted + 1) == pytest.approx(1, rel=1e-9)
    assert loss(wanted - 1) == pytest.approx(1, rel=1e-9)


def test_simpo_asks_for_a_margin_of_gamma() -> None:
    same = [one_token(0.0, True), one_token(0.0, False)]

    assert losses_of("simpo", same, simpo_gamma=0.8) == pytest.approx([math.log1p(math.exp(0.8))], rel=1e-12)


def test_simpo_and_orpo_look_at_mean_log_probs() -> None:
    short = [Judged(Completion((p,), (0.0,), (1.0,)), None, good) for p, good in ((-0.5, True), (-2.0, False))]
    long = [replace(row, own=replace(row.own, **{k: v * 6 for k, v in vars(row.own).items()})) for row in short]

    assert losses_of("simpo", long) == pytest.approx(losses_of("simpo", short), rel=1e-12)
    assert losses_of("orpo", long) == pytest.approx(losses_of("orpo", short), rel=1e-12)


@pytest.mark.parametrize("mean", [-1e-12, -1e-6, -0.1, -math.log(2), -1.0, -30.0, -700.0])
def test_log_odds_keep_their_digits_near_certainty_and_far_from_it(mean: float) -> None:
    ours = float(log_odds(torch.tensor([mean], dtype=torch.float64)))

    assert ours == pytest.approx(mean - math.log(-math.expm1(mean)), rel=1e-14)
