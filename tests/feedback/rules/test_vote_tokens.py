"""The tokens of vote links."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.feedback.vote_links.tokens import VoteToken, is_genuine, read, signed

SECRET = b"s" * 32
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)


@given(completion_id=NAMES, actor=NAMES, expires=st.integers(0, 2**40))
def test_a_token_says_what_was_signed_and_fits_a_url(completion_id, actor, expires):
    token = VoteToken("acme", 1, str(UUID(int=7)), expires, completion_id, actor)
    text = signed(token, SECRET)

    assert read(text) == token
    assert is_genuine(text, SECRET)
    assert not is_genuine(text, b"t" * 32)
    assert len(text) < 5000


@given(place=st.integers(0, 200), letter=st.sampled_from("AQgw-_.x"))
def test_a_changed_token_is_not_genuine(place, letter):
    text = signed(VoteToken("acme", 1, str(UUID(int=7)), 2**31, "c1", "u1"), SECRET)
    changed = text[: place % len(text)] + letter + text[place % len(text) + 1 :]

    same_payload = changed.partition(".")[0] == text.partition(".")[0]
    assert changed == text or not is_genuine(changed, SECRET) or same_payload


@given(text=st.text())
def test_any_other_text_is_no_token(text):
    assert read(text) is None
    assert not is_genuine(text, SECRET)
