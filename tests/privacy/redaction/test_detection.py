"""All detectors together: order, overlaps, unknown kinds, and work that grows with the text and no faster."""

import json
import sys
from itertools import pairwise
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Unavailable
from app.privacy.redaction import presidio
from app.privacy.redaction.detection import find
from app.privacy.redaction.findings import BUILT_IN_KINDS, KINDS, PRESIDIO_KINDS, DetectedSpan
from app.privacy.redaction.overlaps import without_overlaps
from benchmarks.redaction import hostile

ALL = frozenset(BUILT_IN_KINDS)
#: Pieces that begin, end or interrupt values of every kind.
PIECES = st.sampled_from(
    [
        "ada@acme.io", "@", "+49 30 1234567", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "password=",
        "hunter2!", "Bearer ", "a8f5f167f44f4964e6c998dee827110c", "https://ada:pw7@acme.io", "91.198.174.192",
        "-----BEGIN PRIVATE KEY-----", "eyJhbGciOiJub25lIn0.e30.", " ", "\n", "0", "1", "-", ".", ":", "é", "中", "😀",
        "x",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=12).map("".join)


@given(TEXTS)
def test_spans_are_sorted_and_apart_and_cover_what_each_detector_finds(text: str) -> None:
    spans = find(text, ALL)
    alone = [span for kind in BUILT_IN_KINDS for span in find(text, frozenset({kind}))]

    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(left.end <= right.start for left, right in pairwise(spans))
    assert covered(spans) == covered(alone)


def covered(spans: list[DetectedSpan]) -> set[int]:
    return {place for span in spans for place in range(span.start, span.end)}


@given(TEXTS)
def test_a_sentence_before_a_text_moves_its_spans(text: str) -> None:
    before = "Grüße 😀 aus 中国:\n\n"

    moved = [span._replace(start=span.start + len(before), end=span.end + len(before)) for span in find(text, ALL)]
    assert covered(find(before + text, ALL)) >= covered(moved)


def test_an_overlap_is_joined_under_the_kind_that_comes_first() -> None:
    spans = [
        DetectedSpan("phone", 4, 9),
        DetectedSpan("email", 0, 5),
        DetectedSpan("card", 9, 12),
        DetectedSpan("iban", 20, 22),
    ]

    assert without_overlaps(spans) == [("email", 0, 9), ("card", 9, 12), ("iban", 20, 22)]


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_can_be_searched(text: str) -> None:
    assert all(0 <= span.start < span.end <= len(text) for span in find(text, ALL))


@pytest.mark.parametrize("value", ["ada@acme.io", "030 1234567", "DE89 3704 0044 0532 0130 00", "4111 1111 1111 1111"])
def test_escapes_of_a_string_are_no_letters_of_a_value(value: str) -> None:
    text = json.dumps(json.dumps({"body": f"Hi,\n{value}\tand\r\n{value}\n"}))

    assert [text[span.start : span.end] for span in find(text, ALL)] == [value, value]


def test_a_secret_is_found_within_quoted_json() -> None:
    text = json.dumps(json.dumps({"password": "hunter2!", "api_key": "a8f5f167f44f4964e6c998dee827110c"}))

    assert [(span.kind, text[span.start : span.end]) for span in find(text, ALL)] == [
        ("password", "hunter2!"),
        ("token", "a8f5f167f44f4964e6c998dee827110c"),
    ]


def test_only_the_kinds_asked_for_are_found() -> None:
    text = "ada@acme.io, +49 30 1234567"

    assert find(text, frozenset({"phone"})) == [("phone", 13, 27)]
    assert find(text, frozenset()) == []
    with pytest.raises(ValueError, match="unknown kinds: mail"):
        find(text, frozenset({"mail"}))


def test_a_kind_has_one_name_of_lower_case_letters() -> None:
    assert len(set(KINDS)) == len(KINDS)
    assert all(kind.replace("_", "").isalpha() and kind == kind.lower() for kind in KINDS)


def steps(text: str) -> int:
    """Returns the number of Python calls of a search, which do not depend on the machine."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        find(text, ALL)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("name", list(hostile.texts()))
def test_twice_the_text_is_at_most_twice_the_work(name: str) -> None:
    text = hostile.texts()[name][:2_000]

    assert steps(text * 2) <= 2.1 * steps(text) + 100


def test_presidios_kinds_are_refused_with_the_remedy_without_presidio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presidio, "find_spec", lambda _: None)

    with pytest.raises(Unavailable, match=r"person: found by Presidio, .* Install the extra `presidio`"):
        find("I am Ada", frozenset({"person", "email"}))
    assert find("ada@acme.io", ALL) == [("email", 0, 11)]


def test_presidio_finds_what_its_patterns_know_without_a_language_model() -> None:
    pytest.importorskip("presidio_analyzer", reason="needs the extra `presidio`")

    spans = find("NHS 401-023-2137, ada@acme.io", frozenset({"uk_nhs", "email"}))

    assert spans == [("uk_nhs", 4, 16), ("email", 18, 29)]
    assert set(PRESIDIO_KINDS) > presidio.OF_A_MODEL
    assert "need a language model" in (presidio.reason_to_refuse(frozenset({"person"})) or "")
