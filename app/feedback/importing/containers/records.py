"""`SourceRecord`: a value read from a container, with its place."""

from typing import Any, NamedTuple


class SourceRecord(NamedTuple):
    """A decoded record, or the reason why it cannot be decoded.

    number  its place in the container, from 1: a line, an item or a row
    broken  the reason, as the end of a sentence; None for a decoded record
    """

    number: int
    value: Any = None
    broken: str | None = None
