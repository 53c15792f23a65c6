"""Fills `{{ name }}` in texts with the variables of a test. Pure.

Nothing else of promptfoo's template language is carried out. A value is filled in as it is and not filled again, so a
literal `{{` can be written as a variable.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from thumbwheel.wire.suites import Variable

_PLACEHOLDER = re.compile(r"\{\{[ \t]*([A-Za-z_][A-Za-z0-9_-]*)[ \t]*\}\}")


def fill(text: str, variables: Mapping[str, Variable]) -> str:
    """Returns the text with its variables. Raises `KeyError` for a name that `variables` lacks."""
    return _PLACEHOLDER.sub(lambda match: as_text(variables[match[1]]), text)


def fill_all(value: Any, variables: Mapping[str, Variable]) -> Any:
    """Returns a JSON value with the variables filled into all its texts, but not into the keys of objects."""
    if isinstance(value, str):
        return fill(value, variables)
    if isinstance(value, list):
        return [fill_all(item, variables) for item in value]
    if isinstance(value, dict):
        return {key: fill_all(item, variables) for key, item in value.items()}
    return value


def as_text(value: Variable) -> str:
    """Returns the text of a variable: true and false as in JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def names_in(value: Any) -> set[str]:
    """Returns the names of the variables in all texts of a JSON value."""
    return {match[1] for text in _texts(value) for match in _PLACEHOLDER.finditer(text)}


def unsupported_in(value: Any) -> str | None:
    """Returns the first `{{` or `{%` in the texts of a JSON value that is not a variable, with what follows it."""
    for text in _texts(value):
        rest = _PLACEHOLDER.sub("", text)
        places = [place for place in (rest.find("{{"), rest.find("{%")) if place >= 0]
        if places:
            return rest[min(places) : min(places) + 30]
    return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
