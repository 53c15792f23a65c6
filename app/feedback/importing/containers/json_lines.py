"""Reads JSON lines, one line at a time."""

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from app.feedback.importing.containers.records import SourceRecord

MAX_LINE = 1 << 20  # bytes: the API's limit on one event
UNIT = "line"

_BATCH = re.compile(rb'\{\s*"(events|items)"\s*:\s*\[')


def records(file: BinaryIO) -> Iterator[SourceRecord]:
    """Yields the values of the lines that are not empty; a broken line gives its reason."""
    for number, line in _lines(file):
        try:
            yield SourceRecord(number, _decoded(line))
        except _BrokenLine as reason:
            yield SourceRecord(number, broken=str(reason))


class _BrokenLine(Exception):
    pass


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yields the lines that are not empty, numbered from 1, each cut to at most `MAX_LINE` + 1 bytes."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        while not line.endswith(b"\n") and len(line) > MAX_LINE and (rest := file.readline(MAX_LINE)):
            if rest.endswith(b"\n"):
                break
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            yield number, line


def _decoded(line: bytes) -> Any:
    if len(line) > MAX_LINE:
        raise _BrokenLine(f"has over {MAX_LINE:,} bytes: {_remedy_for_long(line)}")
    try:
        # Decoded strictly first: given bytes, the JSON reader also guesses UTF-16 and UTF-32.
        return _DECODER.decode(line.decode())
    except UnicodeDecodeError:
        raise _BrokenLine("is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise _BrokenLine(f"is not valid JSON: {error}") from None


def _no_number(name: str) -> Any:
    raise _BrokenLine(f"is not valid JSON: {name} is not a number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def _remedy_for_long(line: bytes) -> str:
    batch = _BATCH.match(line)
    if batch is None:
        return "shorten what it holds"
    return f"write its {batch[1].decode()} one per line, for example with `jq -c '.{batch[1].decode()}[]' FILE > NEW`"
