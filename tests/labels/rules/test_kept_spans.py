"""The parts of a text that an edit kept."""

from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.labels.kept_spans import KeptParts, kept, kept_by_all

#: Words and signs of several scripts, with combining marks and emoji.
WORDS = st.sampled_from(
    [
        *("the", "a", "of", "to", "order", "refund", "20.50", "don't", ".", ",", "!", "?", "\n"),
        *("明日", "届けます。", "ร้าน", "เปิด", "नमस्ते", "मैं", "e\u0301te\u0301", "👍🏽", "👨\u200d👩\u200d👧", "🇩🇪", "🇫"),
    ]
)
TEXTS = st.lists(WORDS, max_size=30).flatmap(
    lambda words: st.sampled_from(["", " ", "  "]).map(lambda gap: gap.join(words))
) | st.text(max_size=60)


def shown(original: str, edited: str) -> str:
    """Returns the original with its kept parts in brackets."""
    spans = kept(original, edited).spans
    for start, end in reversed(spans):
        original = f"{original[:start]}[{original[start:end]}]{original[end:]}"
    return original


@pytest.mark.parametrize(
    ("original", "edited", "expected"),
    [
        # Words
        ("We deliver in two days.", "We deliver in three days.", "[We deliver in] two[ days.]"),
        ("Pay 1,000 euros", "Pay 2,000 euros", "[Pay] 1,000[ euros]"),
        ("You can't return it.", "You can return it.", "[You] can't[ return it.]"),
        ("It is a very good idea.", "It is a good idea.", "[It is a] very[ good idea.]"),
        ("We open at nine.", "We open on Mondays at nine.", "[We open at nine.]"),
        # White space that changed is not kept, the words around it are.
        ("a  b\nc", "a b\nc", "[a]  [b\nc]"),
        # Words in common by accident
        (
            "The cat sat on the mat in the house.",
            "A dog of the king ran to the hills quickly.",
            "The cat sat on the mat in the house.",
        ),
        (
            "We hope to see the offices again soon.",
            "We hope to meet at the headquarters again soon.",
            "[We hope to] see the offices[ again soon.]",
        ),
        # Sentences that moved, were rewritten, split, or left out
        ("One is here. Two is not.", "Two is not. One is here.", "[One is here.] Two is not."),
        ("It shipped and it comes soon.", "It shipped. It comes soon.", "[It shipped] and it[ comes soon.]"),
        ("Sure! Your refund was sent. Bye", "Your refund was sent.", "Sure! [Your refund was sent.] Bye"),
        ("- one\n- two\n- three", "- one\n- three", "[- one]\n- two[\n- three]"),
        # Scripts without spaces
        ("我们明天送货。谢谢您！", "我们后天送货。谢谢您！", "[我们]明[天送货。谢谢您！]"),
        ("明日届けます。ありがとう。", "今日届けます。どういたしまして。", "明[日届けます。]ありがとう。"),
        ("ร้านเปิดทุกวัน", "ร้านปิดทุกวัน", "[ร้าน]เ[ปิดทุกวัน]"),
        # Marks and emoji stay with their signs.
        ("हम कल आएंगे।", "हम परसों आएंगे।", "[हम] कल[ आएंगे।]"),
        ("e\u0301te\u0301 hier", "e\u0301te hier", "e\u0301te\u0301[ hier]"),
        ("A 👍🏽 for you 👨‍👩‍👧 🇩🇪", "A 👍🏿 for you 👨‍👩‍👦 🇩🇪", "[A] 👍🏽[ for you] 👨‍👩‍👧[ 🇩🇪]"),
        ("", "new", ""),
        ("old", "", "old"),
    ],
)  # fmt: skip
def test_the_kept_parts_of_an_edited_text(original, edited, expected):
    assert shown(original, edited) == expected


@pytest.mark.parametrize(
    ("original", "edited", "ending"),
    [("It is so.", "It was so.", True), ("It is so.", "It is so. Bye.", False), ("It is so. Bye.", "It is so.", False)],
)
def test_the_ending_is_kept_if_both_texts_end_with_the_same_part(original, edited, ending):
    assert kept(original, edited).ending is ending


@given(TEXTS, TEXTS)
def test_spans_are_ascending_parts_of_the_original_and_kept_in_order_in_the_edited_text(original, edited):
    spans = kept(original, edited).spans

    bounds = [bound for span in spans for bound in span]
    assert all(a < b for a, b in pairwise(bounds))
    assert not bounds or 0 <= bounds[0] < bounds[-1] <= len(original)
    rest = iter(edited)
    assert all(character in rest for start, end in spans for character in original[start:end])


@given(TEXTS)
def test_of_a_text_that_did_not_change_everything_is_kept(text):
    assert kept(text, text) == KeptParts(((0, len(text)),) if text else (), ending=True)


@given(TEXTS, TEXTS, TEXTS)
def test_what_several_edits_kept_is_what_each_of_them_kept(original, edited, other):
    several = [kept(original, edited), kept(original, other)]

    common = kept_by_all(several)

    characters = [{place for span in each.spans for place in range(*span)} for each in (*several, common)]
    assert characters[2] == characters[0] & characters[1]
    assert kept_by_all(several[:1]) == several[0]


@pytest.mark.parametrize(
    ("original", "edited"),
    [
        ("word " * 60_000, "other " + "word " * 59_000 + "end"),
        (". x" * 12_000, "x . " * 12_000 + "x"),
        (" ".join(f"Is it {n}?" for n in range(4_000)), " ".join(f"Was it {n + 1}?" for n in range(4_000))),
        ("1" * 100_000 + "a", "1" * 99_999 + "a"),
        ("字" * 15_000 + "x" * 5_000, "x" * 5_000 + "字" * 15_000),
    ],
    ids=["words", "signs", "sentences", "digits", "characters"],
)
def test_long_texts_take_a_bounded_time(original, edited):
    start = process_time()

    kept(original, edited)

    assert process_time() - start < 5
