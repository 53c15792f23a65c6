"""Cursors: only those that a page returns are accepted."""

from uuid import UUID, uuid4

import pytest

from app.errors import Invalid
from app.pages import MAX_INT4, MAX_INT8, MOST_CHARACTERS, encode_cursor, key_of_cursor, number_up_to, page_of


@pytest.mark.parametrize("most", [MAX_INT4, MAX_INT8])
def test_numbers_are_taken_up_to_the_largest_that_postgres_holds(most: int) -> None:
    read = number_up_to(most)

    assert [key_of_cursor(encode_cursor(str(number)), read) for number in (0, 7, most)] == [0, 7, most]
    for text in (str(most + 1), "9" * 900, "-1", "+1", " 1", "1.0", "1e3", "1_000", "٣", "", "x"):
        with pytest.raises(Invalid) as refusal:
            key_of_cursor(encode_cursor(text), read)
        assert refusal.value.code == "invalid_cursor"


def test_an_id_is_taken_and_what_is_none_is_not() -> None:
    given = uuid4()

    assert key_of_cursor(encode_cursor(str(given)), UUID) == given
    with pytest.raises(Invalid, match="leave it out"):
        key_of_cursor(encode_cursor("no id"), UUID)


@pytest.mark.parametrize(
    "cursor", ["", "?", "====", "MQ==MQ", "a", "\u00e9", "_w", "M" * (MOST_CHARACTERS + 1), "MQ\n"]
)
def test_what_no_page_gave_out_is_refused_by_its_name(cursor: str) -> None:
    with pytest.raises(Invalid) as refusal:
        key_of_cursor(cursor, number_up_to(MAX_INT8))

    assert (refusal.value.code, refusal.value.faults[0].pointer) == ("invalid_cursor", "cursor")


def test_no_cursor_is_the_first_page_and_the_last_page_has_none() -> None:
    pages, cursor = [], None
    while True:
        after = key_of_cursor(cursor, number_up_to(MAX_INT8)) or 0
        page = page_of(list(range(after + 1, min(after + 4, 6))), 2, str, lambda number: number)
        pages.append(page.items)
        cursor = page.next_cursor
        if cursor is None:
            break

    assert pages == [[1, 2], [3, 4], [5]]
