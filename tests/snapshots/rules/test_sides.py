"""The prompt that decides on the side of a conversation, and the prompts that may move."""

from hashlib import blake2b

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.snapshots.prompts.conversations import Join
from app.snapshots.prompts.sides import EarlierSnapshots, Joins, Sides, Strays, decide
from app.snapshots.prompts.split import rank_of, split_of

P, SHARE = "desk", 0.4


def key(number: int) -> bytes:
    return blake2b(str(number).encode(), digest_size=16).digest()


def keys(numbers: list[int]) -> np.ndarray:
    return np.frombuffer(b"".join(map(key, numbers)), np.uint64).reshape(-1, 2)


def joins_of(pairs: list[tuple[int, int]]) -> Joins:
    """Returns joins in which group n arrives at position 10 n and is joined with an earlier one."""
    ordered = sorted(pairs)
    return Joins(
        keys([late for late, _ in ordered]),
        keys([early for _, early in ordered]),
        np.array([10 * late for late, _ in ordered], np.int64),
        np.array([10 * early for _, early in ordered], np.int64),
    )


def sides_of(pairs: list[tuple[int, int]], snapshots: EarlierSnapshots, groups: list[int]) -> dict[int, str]:
    by = decide(P, joins_of(pairs), snapshots).of(keys(groups))
    return {number: split_of(P, one.tobytes(), SHARE) for number, one in zip(groups, by, strict=True)}


def first_on(side: str, *, after: int = 0) -> int:
    return next(number for number in range(after + 1, 1000) if split_of(P, key(number), SHARE) == side)


#: Pairs of (later group, earlier group).
pairs = st.lists(
    st.tuples(st.integers(1, 30), st.integers(1, 30)).filter(lambda pair: pair[0] > pair[1]), max_size=30, unique=True
)


@settings(max_examples=150)
@given(pairs, st.lists(st.integers(0, 300), max_size=4, unique=True).map(sorted), st.integers(0, 300))
def test_joined_groups_are_on_one_side_and_nothing_leaves_training(joined, watermarks, by_prompt):
    groups = list(range(1, 31))
    before: dict[int, str] = {}
    for place, watermark in enumerate([*watermarks, 300]):
        known = [one for one in groups if 10 * one <= watermark]
        there = [pair for pair in joined if 10 * pair[0] <= watermark]
        now = sides_of(there, EarlierSnapshots(watermarks[:place]), known)
        assert all(now[late] == now[early] for late, early in there)
        assert not [one for one, side in before.items() if side == "train" and now[one] != "train"]
        # Held-out groups leave the holdout only for a conversation that was in training.
        for one, side in before.items():
            if side == "holdout" and now[one] == "train":
                assert any(before.get(other) == "train" and now[other] == "train" for other in before)
        before = now


@settings(max_examples=150)
@given(pairs)
def test_a_project_that_was_split_by_prompt_keeps_what_was_trained_in_training(joined):
    groups = list(range(1, 31))

    now = sides_of(joined, EarlierSnapshots((), by_prompt=300), groups)

    for one in groups:
        if split_of(P, key(one), SHARE) == "train" and any(one in pair for pair in joined):
            assert now[one] == "train"
    for late, early in joined:
        assert now[late] == now[early]


def test_the_earlier_group_decides_where_no_snapshot_had_either():
    held_out = first_on("holdout")
    train = first_on("train", after=held_out)

    assert sides_of([(train, held_out)], EarlierSnapshots(), [train]) == {train: "holdout"}


def test_what_a_snapshot_had_decides_over_what_none_had():
    train = first_on("train")
    held_out = first_on("holdout", after=train)

    joins = Joins(keys([50]), keys([train]), np.array([500]), np.array([10 * train]))

    assert decide(P, joins, EarlierSnapshots([10 * train])).of(keys([50])).tobytes() == key(train)
    assert sides_of([(held_out, train)], EarlierSnapshots([10 * train]), [held_out]) == {held_out: "train"}


def test_of_two_that_a_snapshot_had_training_wins_and_the_move_is_listed():
    held_out = first_on("holdout")
    train = first_on("train", after=held_out)
    bridge = train + 1
    sides = Sides.of(
        P,
        joins_of([(bridge, held_out), (bridge, train)]),
        EarlierSnapshots([10 * train]),
        Strays(*(np.empty((0, 2), np.uint64),) * 3),
    )

    moved = sides.moved(P, SHARE)

    assert [one.tobytes() for one in moved.leader] == [key(held_out)]
    assert (list(moved.before), list(moved.now)) == (["holdout"], ["train"])
    assert [one.tobytes() for one in moved.by] == [key(train)]


def test_a_larger_share_takes_nothing_out_of_the_holdout():
    joins = joins_of([(2, 1), (3, 2), (9, 8)])
    by = decide(P, joins, EarlierSnapshots([20])).of(keys(list(range(1, 10))))

    for one in by:
        if split_of(P, one.tobytes(), 0.2) == "holdout":
            assert split_of(P, one.tobytes(), 0.5) == "holdout"
    assert rank_of(P, key(1)) != rank_of("other", key(1))


def test_joins_that_follow_others_are_in_the_order_in_which_they_are_stored():
    low, middle, high = sorted(map(key, range(3)))
    later = [Join(high, low, 20, 10), Join(middle, high, 20, 10), Join(middle, low, 20, 10), Join(high, middle, 10, 5)]

    joins = joins_of([(1, 0)]).followed_by(later)

    assert joins.position.tolist() == [10, 10, 20, 20, 20]
    assert joins.earlier.tolist() == [0, 5, 10, 10, 10]
    pairs = [(leader.tobytes(), other.tobytes()) for leader, other in zip(joins.leader, joins.other, strict=True)]
    assert pairs == [(key(1), key(0)), (high, middle), (middle, low), (middle, high), (high, low)]
