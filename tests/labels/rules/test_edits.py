"""Edits that change the content of a text, and edits that do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thumbwheel.wire.policies import EditRule

from app.labels import edits


def severity(original: str, edited: str) -> str:
    return edits.severity(original, edited, EditRule())


@pytest.mark.parametrize(
    ("original", "edited"),
    [
        ("Your parcel arrives tomorrow", "Your parcel arrives tomorrow."),
        ("your parcel  arrives\ntomorrow", "Your parcel arrives tomorrow"),
        ("Your **parcel** arrives.", "Your parcel arrives"),
        ("We will recieve it tomorrow.", "We will receive it tomorrow."),
        ("It arives today.", "It arrives today."),
        ("Don’t worry, it's “fine”.", "Don't worry, it's \"fine\"."),
        ("We can not send it.", "We cannot send it."),
        ("Сегодня прийдет посылка", "Сегодня придет посылка."),
        ("ﬁne, thanks", "fine, thanks"),
    ],
)
def test_case_spaces_punctuation_and_typos_are_cosmetic(original, edited):
    assert severity(original, edited) == "cosmetic"


@pytest.mark.parametrize(
    ("original", "edited"),
    [
        ("We refund you 50 €.", "We refund you 5 €."),
        ("It costs 10.5 euros in total", "It costs 105 euros in total"),
        ("The balance is -5 euros today", "The balance is 5 euros today"),
        ("Take 1 2 times", "Take 12 times"),
        ("We give 10% off your order", "We give 10 off your order"),
        ("Great 👍", "Great 👎"),
        ("Yes.", "Yes. We also refund the shipping."),
        ("Go to a/b", "Go to a b"),
        ("", "Hello"),
    ],
)
def test_another_number_or_word_is_a_rewrite(original, edited):
    assert severity(original, edited) == "rewrite"


@pytest.mark.parametrize(
    ("original", "edited"),
    [
        ("You can return the parcel now.", "You can not return the parcel now."),
        ("He will be hired next Monday.", "He will be fired next Monday."),
        ("It is now available for you", "It is not available for you"),
        ("This is possible in your case.", "This is impossible in your case."),
        ("我喜欢这个产品", "我不喜欢这个产品"),
    ],
)
def test_an_edit_between_is_substantive_or_by_another_threshold_a_rewrite(original, edited):
    assert severity(original, edited) == "substantive"
    assert edits.severity(original, edited, EditRule(rewrite_below=1.0)) == "rewrite"


@given(st.lists(st.tuples(st.text("ab c1.,é\n", max_size=30), st.text("ab c1.,é\n", max_size=30))))
def test_many_edits_are_judged_as_each_one(pairs):
    originals, edited = [one for one, _ in pairs], [other for _, other in pairs]

    found = edits.severities(originals, edited, EditRule())

    assert found == [severity(one, other) for one, other in pairs]


@given(
    st.lists(st.tuples(st.text("ab c1.,é\n", max_size=30), st.text("ab c1.,é\n", max_size=30))),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_a_comparison_that_was_kept_gives_the_same_severity_or_asks_for_the_texts(pairs, cosmetic_from, rewrite_below):
    # Repetition makes some texts long; long texts are judged differently.
    originals, edited = [one * 9 for one, _ in pairs], [other * 9 for _, other in pairs]
    rule = EditRule(cosmetic_from=cosmetic_from / 20, rewrite_below=rewrite_below / 20)

    found = edits.judged(*edits.columns(edits.compared(originals, edited)), rule)

    judged = [None if number < 0 else edits.SEVERITIES[number] for number in found]
    expected = edits.severities(originals, edited, rule)
    assert all(one in (None, other) for one, other in zip(judged, expected, strict=True))
    assert None not in judged or min(cosmetic_from, rewrite_below) <= 10


def test_spaces_at_the_ends_change_nothing():
    assert severity("It arrives. ", " It arrives.\n") == "unchanged"


@given(st.text())
def test_a_text_is_never_a_change_of_itself(text):
    assert severity(text, text) == "unchanged"


@given(st.text(), st.text())
def test_severity_is_the_same_both_ways(one, other):
    assert severity(one, other) == severity(other, one)
