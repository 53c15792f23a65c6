"""Preferences are asked for in both orders, and a judge that goes by position is found out."""

import pytest

from app.suites.judge.preference import UNCHANGED, JudgedPair, figures_of, in_both_orders


@pytest.mark.parametrize(
    ("first", "second", "share", "consistent"),
    [
        ("first", "second", 1, True),  # the candidate, wherever it stands
        ("second", "first", 0, True),
        ("tie", "tie", 0.5, True),
        ("first", "first", 0.5, False),  # whatever stands first
        ("second", "second", 0.5, False),
        ("first", "tie", 0.75, False),
        ("tie", "first", 0.25, False),
    ],
)
def test_a_pair_has_the_mean_of_both_orders(first, second, share, consistent):
    assert in_both_orders(first, second) == JudgedPair(share, consistent)


def test_missing_judgements_are_counted_with_their_reasons_and_are_never_zero():
    won, lost = JudgedPair(1, consistent=True), JudgedPair(0, consistent=True)
    missing = JudgedPair(None, missing="the budget is spent")

    figures = figures_of([won, won, lost, UNCHANGED, missing, missing], ["a", "b", "c", "d", "e", "f"])

    assert (figures["pairs"], figures["missing"], figures["unchanged"]) == (6, 2, 1)
    assert figures["missing_reasons"] == {"the budget is spent": 2}
    assert figures["win_share"]["value"] == pytest.approx(2.5 / 4)
    assert figures["win_share"]["low"] < 2.5 / 4 < figures["win_share"]["high"]
    assert figures["win_share"]["groups"] == 4
    assert (figures["position_consistency"]["value"], figures["position_consistency"]["groups"]) == (1, 3)


def test_a_judge_that_goes_by_position_has_a_consistency_of_0_and_moves_no_share():
    pairs = [in_both_orders("first", "first")] * 8

    figures = figures_of(pairs, list("abcdefgh"))

    assert figures["position_consistency"]["value"] == 0
    assert figures["win_share"]["value"] == 0.5


def test_pairs_of_one_group_are_resampled_together():
    won, lost = JudgedPair(1, consistent=True), JudgedPair(0, consistent=True)

    apart = figures_of([won, lost] * 10, [str(number) for number in range(20)])["win_share"]
    together = figures_of([won, lost] * 10, ["a", "b"] * 10)["win_share"]

    assert together["groups"] == 2
    assert together["high"] - together["low"] > apart["high"] - apart["low"]


@pytest.mark.parametrize("pairs", [[], [JudgedPair(None, missing="no answer")]])
def test_without_a_judgement_the_figures_are_null_with_a_reason(pairs):
    figures = figures_of(pairs, ["a"] * len(pairs))

    for name in ("win_share", "position_consistency"):
        assert (figures[name]["value"], figures[name]["low"], figures[name]["groups"]) == (None, None, 0)
        assert figures[name]["reason"]
