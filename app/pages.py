"""Pages with cursors, for every listing of the API."""

import base64
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pydantic import BaseModel, Field

from app.errors import Fault, Invalid

Row = TypeVar("Row")
Item = TypeVar("Item")
Key = TypeVar("Key")


class Page(BaseModel, Generic[Item]):
    """A page of a listing. Request the next one with ``?cursor=``; null marks the last page."""

    items: list[Item]
    next_cursor: str | None = Field(description="give it as `cursor` for the next page; null on the last one")


#: No page returns a longer cursor.
MOST_CHARACTERS = 1000
#: The largest values of Postgres's integers.
MAX_INT4, MAX_INT8 = 2**31 - 1, 2**63 - 1


def encode_cursor(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> str | None:
    """Returns the key after which a page begins. Raises `Invalid` for a malformed cursor."""
    if cursor is None:
        return None
    try:
        if len(cursor) > MOST_CHARACTERS:
            raise ValueError(len(cursor))
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError as error:  # of base64 and of UTF-8 alike
        raise Invalid(
            "The cursor is not valid: leave it out to begin with the first page.",
            code="invalid_cursor",
            faults=[Fault("cursor", "is not a cursor of this listing")],
        ) from error


def key_of_cursor(cursor: str | None, read: Callable[[str], Key]) -> Key | None:
    """Returns the key after which a page begins, parsed by `read` (`UUID`, `int`). Raises `Invalid`."""
    text = decode_cursor(cursor)
    try:
        return None if text is None else read(text)
    except ValueError as error:
        raise Invalid(
            "The cursor does not belong to this listing: leave it out to begin with the first page.",
            code="invalid_cursor",
            faults=[Fault("cursor", "is not a cursor of this listing")],
        ) from error


def storable_key(text: str) -> str:
    """Returns an id for `key_of_cursor`. Raises `ValueError` for one that Postgres could not store."""
    if "\0" in text:
        raise ValueError(text)
    return text


def number_up_to(most: int) -> Callable[[str], int]:
    """Returns a parser for `key_of_cursor`, of whole numbers from 0 to `most` as this server writes them."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
            raise ValueError(text)
        return int(text)

    return read


def page_of(rows: Sequence[Row], limit: int, key: Callable[[Row], str], item: Callable[[Row], Item]) -> Page[Item]:
    """Returns a page of `limit` items from up to `limit` + 1 rows; the extra row shows that there are more."""
    shown = rows[:limit]
    more = len(rows) > limit
    return Page(items=[item(row) for row in shown], next_cursor=encode_cursor(key(shown[-1])) if more else None)
