"""Texts that are one text, and what their labels add up to."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thumbwheel.wire.policies import NearDuplicates

from app.labels.guards.duplicates import collapsed, exact, near
from app.labels.guards.text import key_of, normalised

RULES = NearDuplicates()
WORDS = [f"word{number}" for number in range(400)]


def text(seed: int, length: int = 60) -> list[str]:
    return random.Random(seed).choices(WORDS, k=length)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello  world", " hello\nWORLD "),
        ("Straße", "STRASSE"),
        ("ﬁne", "fine"),
        ("e\u0301te\u0301", "été"),
        ("\u212b", "å"),
        ("１２３", "123"),
    ],
)
def test_texts_that_differ_in_form_case_or_spaces_have_one_key(one, other):
    assert normalised(one) == normalised(other)
    assert key_of(one) == key_of(other)


def test_texts_are_told_apart_by_where_one_ends():
    assert key_of("ab", "c") != key_of("a", "bc")
    assert len({key_of("a"), key_of("a", ""), key_of("b"), key_of("a b"), key_of("ab")}) == 5


def test_a_lone_surrogate_has_a_key():
    assert key_of("\ud800") == key_of("\ud800 ")


def test_clusters_are_counted_in_the_order_in_which_their_keys_come():
    assert exact(["b", "a", "b", "c", "a"]).tolist() == [0, 1, 0, 2, 1]
    assert exact([]).tolist() == []


def test_a_text_with_a_word_changed_is_the_same_and_another_is_not():
    one, other = text(1), text(2)
    changed = [*one[:30], "changed", *one[31:]]

    found = near([" ".join(words) for words in (one, other, changed, one, text(3))], RULES)

    assert found.tolist() == [0, 1, 0, 0, 2]


def test_the_order_of_the_words_matters():
    assert near(["it is not good it is bad", "it is not bad it is good"], RULES).tolist() == [0, 1]


def test_small_steps_do_not_lead_far_away():
    """Each text is alike to the one before it, the last has nothing in common with the first."""
    start, end = text(1, 100), text(2, 100)
    steps = [" ".join(end[:number] + start[number:]) for number in range(0, 101, 2)]

    found = near(steps, RULES)

    assert found[0] != found[-1]
    assert len(set(found.tolist())) > 5


def test_the_most_alike_of_the_first_texts_gives_its_cluster():
    words = text(1, 100)
    texts = [" ".join(words), " ".join([*words[:92], *text(2, 8)]), " ".join([*words[:92], *text(2, 7), "other"])]

    assert near(texts, NearDuplicates(similarity=0.88, permutations=512)).tolist() == [0, 1, 1]


def test_a_flood_of_nearly_one_text_is_one_cluster():
    words = text(1, 80)

    assert set(near((" ".join([*words, f"no{number}"]) for number in range(500)), RULES).tolist()) == {0}


def test_single_words_and_empty_texts_are_texts():
    assert near(["Yes", "", "no", " yes ", " "], RULES).tolist() == [0, 1, 2, 0, 1]


@given(st.lists(st.text(alphabet="ab ", max_size=30), max_size=20))
def test_equal_texts_are_in_one_cluster_and_numbers_leave_none_out(texts):
    found = near(texts, NearDuplicates(permutations=32)).tolist()

    assert sorted(set(found)) == list(range(len(set(found))))
    numbers = {}
    for said, number in zip(map(normalised, texts), found, strict=True):
        assert numbers.setdefault(said, number) == number


def kept(rows: list[tuple[int, bool, int]]) -> list[str]:
    """What becomes of each row (cluster, desirable, weight), which stand in the log in this order."""
    found = collapsed(
        np.array([cluster for cluster, _, _ in rows], np.uint32),
        np.array([desirable for _, desirable, _ in rows], np.bool_),
        np.array([weight for _, _, weight in rows], np.int64),
        np.arange(len(rows), dtype=np.int64),
    )
    names = ("stays", "duplicate", "contradicted", "tied")
    fates = [[name for name in names if getattr(found, name)[row]] for row in range(len(rows))]
    assert all(len(fate) == 1 for fate in fates)
    return [fate for [fate] in fates]


def test_the_first_row_of_the_heavier_side_stays():
    rows = [(0, False, 1000), (0, True, 1000), (1, True, 250), (0, True, 500), (1, True, 1000)]

    assert kept(rows) == ["contradicted", "stays", "stays", "duplicate", "duplicate"]


def test_of_sides_that_weigh_the_same_neither_stays():
    assert kept([(0, True, 1000), (0, False, 500), (0, False, 500), (1, True, 1)]) == ["tied", "tied", "tied", "stays"]


def test_nothing_collapses_to_nothing():
    assert kept([]) == []


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.sampled_from([1, 250, 500, 1000])), max_size=30))
def test_one_row_of_each_cluster_stays_or_all_are_tied(rows):
    fates = kept(rows)

    for cluster in {cluster for cluster, _, _ in rows}:
        of = [(fate, row) for fate, row in zip(fates, rows, strict=True) if row[0] == cluster]
        balance = sum(weight if desirable else -weight for _, (_, desirable, weight) in of)
        stays = [row for fate, row in of if fate == "stays"]
        assert len(stays) == (balance != 0)
        assert all(desirable is (balance > 0) for _, desirable, _ in stays)
