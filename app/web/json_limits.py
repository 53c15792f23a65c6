"""Checks limits on JSON text before it is decoded. Pure.

A decoded value takes up to a hundred times the bytes of its JSON, so values are counted and split as bytes.
"""

import re
from collections.abc import Iterator

MOST_VALUES = 20_000
MOST_LEVELS = 100
#: Strings and brackets that are read in a batch before it is refused.
MOST_TOKENS = 1_000_000

#: The quantifiers are possessive and a string may lack its end, so the search never backtracks.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
_OBJECT_WITH = {name: re.compile(rb'\s*\{\s*"%s"\s*:\s*(?=\[)' % name.encode()) for name in ("events", "completions")}
_REST = re.compile(rb"\s*\}\s*")


class TooMuchError(ValueError):
    """The array has more items than a request may have."""


def reason_to_refuse(body: bytes, most_values: int = MOST_VALUES) -> str | None:
    """Returns the reason why a JSON text is too large to be decoded, or None if it is not."""
    opened = body.count(b"[") + body.count(b"{")
    if opened <= MOST_LEVELS and body.count(b",") + opened < most_values:  # a quick upper bound
        return None
    level, values = 0, 1
    for match in _TOKEN.finditer(body):
        token = body[match.start()]
        if token in b"[{":
            level += 1
            if level > MOST_LEVELS:
                return f"is nested deeper than {MOST_LEVELS} levels: send it flatter"
        elif token in b"]}":
            level -= 1
        if token in b"[{,":
            values += 1
            if values > most_values:
                return f"holds more than {most_values:,} values: send less"
    return None


def items_of(body: bytes, most: int, name: str = "events") -> list[bytes]:
    """Returns the items of a JSON array, or of the array `name` in an object, as text that may be invalid JSON.

    Raises `TooMuchError` for more than `most` items, `ValueError` for a text that is neither.
    """
    wrapped = _OBJECT_WITH[name].match(body)
    start = wrapped.end() if wrapped else len(body) - len(body.lstrip(b" \t\r\n"))
    if body[start : start + 1] != b"[":
        raise ValueError(f"neither an array nor an object with `{name}`")
    level, item, items, end = 0, start + 1, [], None
    for index, token in _brackets(body, start):
        if token in b"[{":
            level += 1
        elif token in b"]}":
            level -= 1
        if (level == 1 and token in b",") or level == 0:
            items.append(body[item:index].strip(b" \t\r\n"))
            item = index + 1
            if len(items) > most:
                raise TooMuchError(f"holds more than {most} {name}")
        if level == 0:
            end = index + 1
            break
    if end is None:
        raise ValueError("the array has no end")
    rest = body[end:]
    if (_REST.fullmatch(rest) is None) if wrapped else (rest.strip(b" \t\r\n") != b""):
        raise ValueError("text after the end of the array")
    return [] if items == [b""] else items


def _brackets(body: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Yields index and byte of each bracket and comma outside of strings. Raises `TooMuchError` for too many."""
    for number, match in enumerate(_TOKEN.finditer(body, start)):
        if number > MOST_TOKENS:
            raise TooMuchError(f"holds more than {MOST_TOKENS:,} texts and brackets")
        token = body[match.start()]
        if token != 0x22:
            yield match.start(), token
