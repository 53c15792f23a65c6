"""Refusals of rows that are too few or too uneven for the objective."""

from math import inf, nan

import pytest
from thumbwheel import wire

from app.snapshots.balance.enough import ClassTally, Needs, reasons_to_refuse, warnings


def tally(up: int, down: int, weight_up: float | None = None, weight_down: float | None = None) -> ClassTally:
    return ClassTally(up, down, up if weight_up is None else weight_up, down if weight_down is None else weight_down)


def rules(**more) -> wire.SnapshotRules:
    return wire.SnapshotRules(**{"minimum_per_class": 100, "holdout_share": 0.1, **more})


def refusals(train: ClassTally, rules: wire.SnapshotRules, objective: str = "kto") -> list[str]:
    needs: dict[str, Needs] = {"dpo": "pairs", "sft": "desirable rows"}
    return reasons_to_refuse(train, rules, objective, needs.get(objective, "both classes"))


def test_enough_of_both_is_fine():
    assert refusals(tally(100, 1000), rules()) == []
    assert refusals(tally(1000, 100), rules()) == []


def test_too_few_rows_say_how_many_more_labels_are_needed():
    [reason] = refusals(tally(55, 300), rules())

    assert "55 desirable training rows, 100 are needed" in reason
    assert "about 50 more desirable labels" in reason  # 45 more training rows; the holdout takes a tenth


def test_one_class_is_refused_even_where_nothing_else_is_required():
    reasons = refusals(tally(0, 500), rules(minimum_per_class=1, allow_imbalance=True))

    assert any("kto needs both classes, collect desirable labels" in reason for reason in reasons)


def test_nothing_at_all_lacks_both_classes():
    assert len(refusals(tally(0, 0), rules())) == 2


def test_uneven_rows_are_refused_with_what_helps():
    [reason] = refusals(tally(100, 1360), rules())

    assert "100 : 1360" in reason
    assert "about 40 more desirable labels, or set snapshot.allow_imbalance" in reason


def test_uneven_rows_are_taken_where_somebody_says_so():
    assert refusals(tally(100, 1360), rules(allow_imbalance=True)) == []


def test_weights_count_not_rows():
    assert refusals(tally(100, 1360, weight_down=1000), rules()) == []
    assert len(refusals(tally(200, 1000, weight_up=50), rules())) == 1


@pytest.mark.parametrize("weight", [nan, inf])
def test_weights_that_are_no_numbers_are_refused(weight):
    assert len(refusals(tally(500, 500, weight_up=weight), rules(allow_imbalance=True))) == 1


def test_desirable_rows_alone_are_enough_for_an_objective_that_takes_no_others():
    assert refusals(tally(500, 0), rules(), "sft") == []
    assert refusals(tally(500, 20_000), rules(), "sft") == []

    [reason] = refusals(tally(55, 5000), rules(), "sft")

    assert "55 desirable training rows, 100 are needed" in reason


def test_an_objective_that_compares_is_refused_without_a_single_pair():
    [reason] = refusals(tally(500, 500), rules(), "dpo")

    assert reason.startswith("no two completions of one prompt were compared, dpo learns from such pairs")
    assert "or set its objective to kto" in reason


def test_pairs_are_counted_not_classes_and_need_no_balance():
    assert refusals(ClassTally(120, 5000, 120, 5000, pairs=150), rules(), "dpo") == []

    [reason] = refusals(ClassTally(120, 5000, 120, 5000, pairs=55), rules(), "dpo")

    assert "55 training pairs, 100 are needed (snapshot.minimum_per_class): about 50 more pairs" in reason


def test_a_class_that_is_missing_from_the_holdout_is_a_warning():
    assert warnings(tally(3, 3)) == []
    [warning] = warnings(tally(0, 3))
    assert "no desirable rows" in warning
