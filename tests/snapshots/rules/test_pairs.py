"""The pairs of a snapshot, derived from its rows."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from app.snapshots.selection.pairs import pairs_of


def test_one_row_of_each_class_is_one_pair_whichever_comes_first() -> None:
    assert pairs_of([("x", True), ("x", False), ("y", False), ("y", True)]) == [(0, 1), (3, 2)]


def test_a_prompt_of_one_class_gives_no_pair() -> None:
    assert pairs_of([("x", True), ("x", True), ("y", False)]) == []


def test_the_rarer_class_is_repeated_in_turn() -> None:
    rows = [("x", True), ("x", False), ("x", False), ("x", True), ("x", False)]

    assert pairs_of(rows) == [(0, 1), (3, 2), (0, 4)]


def test_prompts_keep_the_order_of_their_first_rows() -> None:
    assert pairs_of([("b", True), ("a", True), ("a", False), ("b", False)]) == [(0, 3), (1, 2)]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans())))
def test_every_row_of_a_prompt_with_both_classes_is_used_and_the_larger_class_once(
    rows: list[tuple[int, bool]],
) -> None:
    pairs = pairs_of(rows)

    used = Counter(row for pair in pairs for row in pair)
    for number, (prompt, desirable) in enumerate(rows):
        same = sum(row == (prompt, desirable) for row in rows)
        other = sum(row == (prompt, not desirable) for row in rows)
        if other == 0:
            assert used[number] == 0
        elif same >= other:
            assert used[number] == 1
        else:
            assert used[number] >= 1
    for chosen, rejected in pairs:
        assert rows[chosen] == (rows[rejected][0], True)
        assert not rows[rejected][1]
