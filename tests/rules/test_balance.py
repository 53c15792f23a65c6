"""When rows are too few or too uneven."""

from math import inf, nan

import pytest
from thumbwheel import wire

from app.snapshots.balance import Tally, reasons_to_refuse, warnings


def tally(up: int, down: int, weight_up: float | None = None, weight_down: float | None = None) -> Tally:
    return Tally(up, down, up if weight_up is None else weight_up, down if weight_down is None else weight_down)


def rules(**more) -> wire.SnapshotRules:
    return wire.SnapshotRules(**{"minimum_per_class": 100, "holdout_share": 0.1, **more})


def test_enough_of_both_is_fine():
    assert reasons_to_refuse(tally(100, 1000), rules()) == []
    assert reasons_to_refuse(tally(1000, 100), rules()) == []


def test_too_few_rows_say_how_many_more_labels_are_needed():
    [reason] = reasons_to_refuse(tally(55, 300), rules())

    assert "55 desirable training rows, 100 are needed" in reason
    assert "about 50 more desirable labels" in reason  # 45 more rows, of which the holdout takes a tenth


def test_one_class_is_refused_even_where_nothing_else_is_asked_for():
    reasons = reasons_to_refuse(tally(0, 500), rules(minimum_per_class=1, allow_imbalance=True))

    assert any("KTO needs both classes, collect desirable labels" in reason for reason in reasons)


def test_nothing_at_all_lacks_both_classes():
    assert len(reasons_to_refuse(tally(0, 0), rules())) == 2


def test_uneven_rows_are_refused_with_what_helps():
    [reason] = reasons_to_refuse(tally(100, 1360), rules())

    assert "100 : 1360" in reason
    assert "about 40 more desirable labels, or set snapshot.allow_imbalance" in reason


def test_uneven_rows_are_taken_where_somebody_says_so():
    assert reasons_to_refuse(tally(100, 1360), rules(allow_imbalance=True)) == []


def test_weights_count_not_rows():
    assert reasons_to_refuse(tally(100, 1360, weight_down=1000), rules()) == []
    assert len(reasons_to_refuse(tally(200, 1000, weight_up=50), rules())) == 1


@pytest.mark.parametrize("weight", [nan, inf])
def test_weights_that_are_no_numbers_are_refused(weight):
    assert len(reasons_to_refuse(tally(500, 500, weight_up=weight), rules(allow_imbalance=True))) == 1


def test_a_class_that_is_missing_from_the_holdout_is_a_warning():
    assert warnings(tally(3, 3)) == []
    [warning] = warnings(tally(0, 3))
    assert "no desirable rows" in warning
