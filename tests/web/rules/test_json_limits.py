"""The limits on JSON text that hold before anything is decoded."""

import json

import pytest

from app.web.json_limits import MOST_LEVELS, MOST_TOKENS, MOST_VALUES, TooMuchError, items_of, reason_to_refuse


@pytest.mark.parametrize(
    ("opening", "closing", "levels"), [(b"[", b"]", 1), (b'{"a":', b"}", 1), (b'[{"a":', b"}]", 2)]
)
def test_nesting_is_allowed_up_to_the_limit_and_not_one_level_deeper(
    opening: bytes, closing: bytes, levels: int
) -> None:
    times = MOST_LEVELS // levels
    deepest = opening * times + b"0" + closing * times

    assert reason_to_refuse(deepest) is None
    assert reason_to_refuse(b"[" + deepest + b"]") == "is nested deeper than 100 levels: send it flatter"


def test_values_are_counted_up_to_the_limit_and_not_one_more() -> None:
    fits = json.dumps([0] * (MOST_VALUES - 1)).encode()  # the array is a value, too

    assert reason_to_refuse(fits) is None
    assert reason_to_refuse(fits[:-1] + b",0]") == "holds more than 20,000 values: send less"


def test_wide_and_flat_is_not_deep() -> None:
    assert reason_to_refuse(b"[" + b",".join([b"[]"] * 5000) + b"]") is None


@pytest.mark.parametrize("text", ["[{," * 50_000, '\\"[' * 50_000, "\\" * 50_001, "]}" * 50_000])
def test_brackets_and_commas_within_a_text_do_not_count(text: str) -> None:
    assert reason_to_refuse(json.dumps({"prompt": text}).encode()) is None


@pytest.mark.parametrize("body", [b'"' + b"[" * 200, b'["' + b"\\" * 100_001, b"]" * 200_000, b"", b"\xff" * 1000])
def test_what_is_no_json_is_left_to_the_decoder(body: bytes) -> None:
    assert reason_to_refuse(body) is None


ITEMS = [b'{"a": [1, 2], "b": "],{"}', b"[]", b'"\\"]"', b"0"]


@pytest.mark.parametrize("wrapping", [b"[%s]", b" [ %s ]\n", b'{"events": [%s]}', b'\n{ "events" : [%s] } '])
def test_the_items_of_an_array_are_cut_where_they_end(wrapping: bytes) -> None:
    assert items_of(wrapping % b" , ".join(ITEMS), 4) == ITEMS
    assert items_of(wrapping % b"", 4) == []


def test_more_items_or_brackets_than_the_limit_are_not_cut() -> None:
    with pytest.raises(TooMuchError, match="holds more than 3 events"):
        items_of(b"[0,0,0,0]", 3)
    with pytest.raises(TooMuchError, match="holds more than 1,000,000 texts and brackets"):
        items_of(b"[[" + b"[]," * (MOST_TOKENS // 3 + 1) + b"0]]", 3)


@pytest.mark.parametrize(
    "body", [b"", b"0", b"{}", b"[", b"[[]", b"[] []", b'{"events": []', b'{"events": [], "a": 1}', b'{"a": []}']
)
def test_a_text_that_is_no_array_has_no_items(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"neither|no end|after the end"):
        items_of(body, 10)
