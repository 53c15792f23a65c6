"""Decodes JSON in outputs of models, within a budget. Pure."""

import json
from collections.abc import Iterator
from typing import Any, NoReturn

#: Characters that a search for JSON may read; each bracket begins another reading.
MOST_CHARACTERS_READ = 2_000_000
#: A bracket nested too deeply for the decoder costs at most this.
DEEPEST = 1_000


class JsonSearchEnded(Exception):
    """The output has too many brackets to be searched."""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def decode(text: str) -> tuple[Any, str | None]:
    """Returns the value of a JSON text and None, or None and the reason why it is not JSON."""
    try:
        return _DECODER.decode(text), None
    except RecursionError:
        return None, "it is nested too deeply"
    except ValueError as error:
        return None, str(error)


def objects_in(text: str) -> Iterator[Any]:
    """Yields the objects and arrays of JSON within a text. Raises `JsonSearchEnded` once it has read too much."""
    place, read = 0, 0
    while place < len(text):
        starts = [start for start in (text.find("{", place), text.find("[", place)) if start >= 0]
        if not starts:
            return
        start = min(starts)
        try:
            value, place = _DECODER.raw_decode(text, start)
        except json.JSONDecodeError as error:
            read += error.pos - start
            place = start + 1
        except (ValueError, RecursionError):
            read += DEEPEST
            place = start + 1
        else:
            yield value
        if read > MOST_CHARACTERS_READ:
            raise JsonSearchEnded("the output has too many brackets to be searched for JSON")
