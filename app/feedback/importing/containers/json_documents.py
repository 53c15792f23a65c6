"""Reads JSON documents item by item: an array, an object that holds the array, or several values after each other."""

import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

import ijson

from app.feedback.importing.containers.records import SourceRecord

UNIT = "item"
MAX_ITEM = 16 << 20  # bytes: an item may hold a whole chat, of which an event is a part
#: Fields of an object that hold its records, in the pages and batches of tools.
ARRAYS = frozenset(
    {
        "data", "batch", "events", "items", "rows", "records", "results", "runs", "feedback", "feedbacks", "scores",
        "traces", "observations", "annotations", "tickets", "tasks", "resourceLogs", "span_annotations",
        "feedback_data", "satisfaction_ratings", "content",
    }
)  # fmt: skip
_MARK = b"\xef\xbb\xbf"
#: The parser names the place of each value by the names around it: its memory grows with the square of the levels.
MOST_LEVELS = 1000
_OPENING = re.compile(rb"[\[{]")
_NEITHER = bytes(set(range(256)) - set(b'[]{}"'))
_LOOK = 1 << 20  # bytes in which the array of an object must begin


class _ItemTooLarge(Exception):
    pass


class _TooDeep(Exception):
    pass


class _Nesting:
    """Follows the nesting of a document that arrives in pieces."""

    def __init__(self) -> None:
        self._level = 0
        self._before = b""

    def add(self, piece: bytes) -> int | None:
        """Returns the number of brackets that open in the piece before one is too deep; None if none is."""
        text = self._before + piece
        # A string that goes on in the next piece leaves its quote, an escape its backslash.
        escape = text[len(text) - (len(text) - len(text.rstrip(b"\\"))) % 2 :]
        text = text.removesuffix(escape).replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = text.translate(None, _NEITHER).replace(b'""', b"").split(b'"')
        self._before = (b"" if len(parts) % 2 else b'"') + escape
        brackets = b"".join(parts[::2])  # the other parts lie within strings
        opened = brackets.count(b"[") + brackets.count(b"{")
        if self._level + opened <= MOST_LEVELS:
            self._level += 2 * opened - len(brackets)
            return None
        opened = 0
        for bracket in brackets:
            self._level += 1 if bracket in b"[{" else -1
            if self._level > MOST_LEVELS:
                return opened
            opened += bracket in b"[{"
        return None


class _Bounded:
    """A file that fails if a single item takes too much of it, or is nested too deeply."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._nesting = _Nesting()
        self._too_deep = False
        self.since_item = 0

    def read(self, size: int = -1) -> bytes:
        if self._too_deep:
            raise _TooDeep
        data = self._file.read(size)
        self.since_item += len(data)
        if self.since_item > MAX_ITEM:
            raise _ItemTooLarge
        opened = self._nesting.add(data)
        if opened is None:
            return data
        # What lies before is read; brackets in texts may cut off a little more.
        self._too_deep = True
        return data[: next(islice(_OPENING.finditer(data), opened, None)).start()] or self.read()


def records(file: BinaryIO) -> Iterator[SourceRecord]:
    """Yields the items of the document; a broken one is the last, as what follows it cannot be placed."""
    head = file.read(_LOOK)
    place = _place_of_items(head)
    file.seek(len(_MARK) if head.startswith(_MARK) else 0)
    bounded = _Bounded(file)
    number = 0
    try:
        for value in ijson.items(bounded, place, use_float=True, multiple_values=True):
            bounded.since_item = 0
            number += 1
            yield SourceRecord(number, value)
    except _ItemTooLarge:
        yield SourceRecord(number + 1, broken=f"has over {MAX_ITEM:,} bytes: shorten it; nothing after it was read")
    except _TooDeep:
        yield SourceRecord(
            number + 1, broken=f"is nested deeper than {MOST_LEVELS:,} levels; nothing after it was read"
        )
    except ijson.IncompleteJSONError:
        yield SourceRecord(number + 1, broken="the document breaks off here: write or download it again")
    except (ijson.JSONError, UnicodeDecodeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        yield SourceRecord(number + 1, broken=f"is not valid JSON: {reason}; nothing after it was read")


def _place_of_items(head: bytes) -> str:
    """Returns ijson's name of the place of the items; an empty one if each value of the document is an item."""
    text = head.removeprefix(_MARK).lstrip()
    if text.startswith(b"["):
        return "item"
    depth, key = 0, ""
    try:
        for event, value in ijson.basic_parse(io.BytesIO(text), multiple_values=True):
            if event == "map_key" and depth == 1:
                key = value
                if key == "id":  # the object is a record itself, which may have arrays
                    return ""
            elif event in ("start_map", "start_array"):
                if event == "start_array" and depth == 1 and key in ARRAYS:
                    return f"{key}.item"
                depth += 1
            elif event in ("end_map", "end_array"):
                depth -= 1
                if depth == 0:
                    return ""
    except ijson.JSONError:
        pass
    return ""
