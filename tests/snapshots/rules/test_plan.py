"""The balance of the classes, and the best way for a recipe to correct it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thumbwheel import wire
from thumbwheel.wire.recipe_resolution import BALANCE_BAND

from app.snapshots.balance.enough import nothing_left, refusals
from app.snapshots.balance.plan import OTHERS, SEGMENTS, Cell, plan, tally_of

RULES = wire.SnapshotRules(minimum_per_class=100)


def cell(desirable: bool, rows: int, each: float = 1.0, reason: str = "thumb", checkpoint: str | None = None) -> Cell:
    return Cell(checkpoint, reason, desirable, rows, rows * each, rows * each**2)


def planned(*cells: Cell, pairs: int = 0) -> wire.BalancePlan:
    return plan(cells, pairs=pairs)


cells = st.lists(
    st.builds(
        cell, st.booleans(), st.integers(1, 10**6), st.floats(0.001, 1), st.sampled_from("rst"), st.sampled_from("ab")
    ),
    max_size=8,
)


@given(cells)
def test_lambda_is_in_its_band_or_the_rows_are_refused(rows):
    balance_plan = planned(*rows)

    if not refusals(tally_of(balance_plan), RULES, "kto", "both classes"):
        ratio = (
            balance_plan.lambda_desirable
            * balance_plan.desirable.weight
            / (balance_plan.lambda_undesirable * balance_plan.undesirable.weight)
        )
        commoner = balance_plan.desirable.weight / balance_plan.undesirable.weight
        assert BALANCE_BAND[0] <= ratio <= max(BALANCE_BAND[1], commoner * 1.001)
        assert balance_plan.balance_by_weights == pytest.approx(ratio)
        assert min(balance_plan.lambda_desirable, balance_plan.lambda_undesirable) == 1
        assert max(balance_plan.lambda_desirable, balance_plan.lambda_undesirable) <= 13.4  # recipes allow up to 1000
        assert (
            balance_plan.advised == "weights"
            or BALANCE_BAND[0] * 0.999 <= balance_plan.balance_by_batch <= BALANCE_BAND[1]
        )


@given(cells)
def test_segments_of_a_kind_add_up_to_all_rows_and_no_class_says_more_than_its_rows(rows):
    balance_plan = planned(*rows)

    for by in ("checkpoint", "reason"):
        own = [segment for segment in balance_plan.segments if segment.by == by]
        assert sum(segment.desirable for segment in own) == balance_plan.desirable.rows
        assert sum(segment.weight_undesirable for segment in own) == pytest.approx(balance_plan.undesirable.weight)
    for one in (balance_plan.desirable, balance_plan.undesirable):
        assert one.effective <= one.rows * (1 + 1e-9)


def test_rows_of_unequal_weight_say_less_than_they_are():
    balance_plan = planned(cell(True, 100, 1.0), cell(True, 100, 0.1, "copied"), cell(False, 50))

    assert balance_plan.desirable.effective == pytest.approx(110**2 / 101)
    assert balance_plan.undesirable.effective == 50


def test_a_moderately_rare_class_is_weighed():
    balance_plan = planned(cell(True, 280), cell(False, 720))

    assert balance_plan.advised == "weights"
    assert "desirable rows are 28% of all" in balance_plan.because


def test_a_rare_class_is_repeated_in_every_step():
    balance_plan = planned(cell(True, 900), cell(False, 100))

    assert balance_plan.advised == "batch"
    assert balance_plan.because == (
        "undesirable rows are only 10% of all: 43% of micro-batches of 8 rows would have one class alone; an epoch "
        "then reads 1800 rows instead of 1000"
    )


def test_batches_even_rows_and_not_their_weight():
    balance_plan = planned(cell(True, 900, 0.5), cell(False, 100))

    assert balance_plan.advised == "weights"
    assert "would weigh 0.50 to 1" in balance_plan.because


def test_one_class_has_no_lambda_and_no_advice():
    balance_plan = planned(cell(True, 900))

    assert (balance_plan.lambda_desirable, balance_plan.balance_by_batch, balance_plan.advised) == (None, None, None)


def test_many_checkpoints_are_listed_as_the_largest_and_the_others():
    balance_plan = planned(*(cell(True, 1 + number, checkpoint=f"c{number}") for number in range(SEGMENTS + 5)))

    names = [segment.name for segment in balance_plan.segments if segment.by == "checkpoint"]
    assert names[:2] == ["c34", "c33"]
    assert names[-1] == OTHERS
    assert balance_plan.segments[SEGMENTS].desirable == 1 + 2 + 3 + 4 + 5


def test_the_order_of_the_cells_changes_nothing():
    several = [cell(True, 10, 0.3, "a", "x"), cell(False, 20, 0.7, "b"), cell(True, 10, 0.1, "b", "y")]

    assert planned(*several) == planned(*reversed(several))


def test_refusals_name_what_is_missing_and_how_much():
    reasons = [
        *refusals(tally_of(planned(cell(True, 60), cell(False, 900))), RULES, "kto", "both classes"),
        nothing_left(7),
    ]

    assert [(reason.code, reason.of, reason.have, reason.need, reason.more) for reason in reasons] == [
        ("too_few", "desirable", 60, 100, 45),
        ("uneven", "desirable", 60, 90, 34),
        ("capped", None, 7, 0, None),
    ]
    assert "guards.influence" in reasons[-1].remedy


def test_a_plan_in_a_manifest_is_the_plan_that_was_made():
    balance_plan = planned(cell(True, 60), cell(False, 900), pairs=4)

    assert wire.BalancePlan.model_validate_json(json.dumps(balance_plan.model_dump())) == balance_plan
