"""Texts that count as the same text."""

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thumbwheel.wire.guard_rules import NearDuplicates

from app.labels.guards.near_duplicates import clusters_of
from app.labels.guards.text import key_of, normalised
from app.snapshots.selection.text_keys import alike, encoded

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


@given(st.text("aB. \n\x85\xa0\u200b\u2003\u2028\u3000é\u0301\xa8日ß", max_size=12))
def test_every_run_of_white_space_is_one_space_and_none_is_at_the_ends(content):
    folded = unicodedata.normalize("NFKC", content).casefold()

    assert normalised(content) == " ".join(folded.split())


@given(st.text("aB.\x1c \n\xa0\u0301é\ufb01ß", max_size=120), st.text("aB \n", max_size=120))
def test_texts_that_are_equal_once_normalised_look_alike(beginning, end):
    text = beginning + end

    for other in (normalised(text), f" {text}\n\x1f", text.swapcase() if text.isascii() else text, text + "\u2028"):
        if normalised(other) == normalised(text):
            assert alike(encoded(other)) == alike(encoded(text))


def test_texts_are_distinguished_by_where_one_ends():
    assert key_of("ab", "c") != key_of("a", "bc")
    assert len({key_of("a"), key_of("a", ""), key_of("b"), key_of("a b"), key_of("ab")}) == 5


def test_a_lone_surrogate_has_a_key():
    assert key_of("\ud800") == key_of("\ud800 ")


def test_a_text_with_a_word_changed_is_the_same_and_another_is_not():
    one, other = text(1), text(2)
    changed = [*one[:30], "changed", *one[31:]]

    clusters = clusters_of([" ".join(words) for words in (one, other, changed, one, text(3))], RULES)

    assert clusters.tolist() == [0, 1, 0, 0, 2]


def test_the_order_of_the_words_matters():
    assert clusters_of(["it is not good it is bad", "it is not bad it is good"], RULES).tolist() == [0, 1]


def test_small_steps_do_not_lead_far_away():
    """The texts are similar to their predecessors, but the last has nothing in common with the first."""
    start, end = text(1, 100), text(2, 100)
    steps = [" ".join(end[:number] + start[number:]) for number in range(0, 101, 2)]

    clusters = clusters_of(steps, RULES)

    assert clusters[0] != clusters[-1]
    assert len(set(clusters.tolist())) > 5


def test_the_most_alike_of_the_first_texts_gives_its_cluster():
    words = text(1, 100)
    texts = [" ".join(words), " ".join([*words[:92], *text(2, 8)]), " ".join([*words[:92], *text(2, 7), "other"])]

    assert clusters_of(texts, NearDuplicates(similarity=0.88, permutations=512)).tolist() == [0, 1, 1]


def test_a_flood_of_nearly_one_text_is_one_cluster():
    words = text(1, 80)

    assert set(clusters_of((" ".join([*words, f"no{number}"]) for number in range(500)), RULES).tolist()) == {0}


def test_single_words_and_empty_texts_are_texts():
    assert clusters_of(["Yes", "", "no", " yes ", " "], RULES).tolist() == [0, 1, 2, 0, 1]


@given(st.lists(st.text(alphabet="ab ", max_size=30), max_size=20))
def test_equal_texts_are_in_one_cluster_and_numbers_leave_none_out(texts):
    clusters = clusters_of(texts, NearDuplicates(permutations=32)).tolist()

    assert sorted(set(clusters)) == list(range(len(set(clusters))))
    numbers = {}
    for content, number in zip(map(normalised, texts), clusters, strict=True):
        assert numbers.setdefault(content, number) == number
