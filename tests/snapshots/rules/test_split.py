"""The prompt alone decides whether a row is held out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.snapshots.prompts.split import group_of, key_of, split_of


def side_of(group: str, share: float) -> str:
    return split_of("desk", key_of(group), share)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is my parcel?", "  where is\n my PARCEL? "),
        ("ﬁne", "fine"),
        ("Straße", "STRASSE"),
        ("Hi", [{"role": "user", "content": "hi "}]),
        (
            [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
            [{"role": "system", "content": "be  kind."}, {"content": "HI", "role": "user"}],
        ),
    ],
)
def test_prompts_that_say_the_same_are_one_group(one, other):
    assert group_of(one) == group_of(other)


def test_prompts_that_differ_in_a_word_a_role_or_a_message_are_apart():
    prompts = [
        "Hi",
        "Hi there",
        [{"role": "system", "content": "Hi"}],
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}],
    ]

    assert len({group_of(prompt) for prompt in prompts}) == len(prompts)


@given(st.text())
def test_a_group_is_its_own_group(prompt):
    assert group_of(group_of(prompt)) == group_of(prompt)


def test_the_split_is_fixed_for_ever():
    """The expected prompts must never change: a change would move trained rows into the holdout."""
    held = [n for n in range(100) if side_of(f"prompt {n}", 0.1) == "holdout"]

    assert held == [2, 4, 15, 18, 20, 25, 27, 45, 56, 64, 72, 82, 91, 93, 99]


@given(st.text(), st.floats(0.01, 0.89), st.floats(0, 0.1))
def test_a_larger_share_moves_nothing_out_of_the_holdout(group, share, more):
    if side_of(group, share) == "holdout":
        assert side_of(group, share + more) == "holdout"


def test_the_share_is_kept():
    held = sum(side_of(str(number), 0.2) == "holdout" for number in range(20_000))

    assert held / 20_000 == pytest.approx(0.2, abs=0.01)


def test_projects_hold_out_different_prompts():
    groups = [key_of(str(number)) for number in range(200)]

    assert [split_of("a", group, 0.5) for group in groups] != [split_of("b", group, 0.5) for group in groups]
