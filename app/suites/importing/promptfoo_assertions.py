"""Converts the assertions of promptfoo into those of a suite. Pure."""

import csv
from collections.abc import Callable, Mapping
from typing import Any

from thumbwheel.wire.suites import FORMS, NOT, SUPPORTED, THRESHOLDS, base_type

from app.bounded_yaml import load

#: Returns the content of a file that `file://` or a path names. Raises `ValueError` with the reason.
ReadFile = Callable[[str], Any]

ALIASES = {"similar:cosine": "similar", "model-graded-factuality": "factuality"}
FIELDS = frozenset({"type", "value", "threshold", "weight", "metric"})
#: Fields that name the judge of an assertion; here the run names it.
OF_THE_JUDGE = frozenset({"provider", "rubricPrompt"})


class Assertions:
    """Converts lists of assertions.

    templates  assertions that `$ref` names
    lose       notes what is not converted
    """

    def __init__(self, templates: Mapping[str, Any], read_file: ReadFile, lose: Callable[[str, str], None]) -> None:
        self._templates = templates
        self._read_file = read_file
        self._lose = lose

    def converted(self, place: str, items: Any) -> list[tuple[str, dict[str, Any]]]:
        """Returns place and content of each assertion that has a counterpart."""
        if not isinstance(items, list):
            self._lose(place, "is not a list of assertions; it is left out")
            return []
        pairs = ((f"{place}/{number}", self._assertion(f"{place}/{number}", item)) for number, item in enumerate(items))
        return [(at, assertion) for at, assertion in pairs if assertion is not None]

    def _assertion(self, place: str, item: Any) -> dict[str, Any] | None:
        if isinstance(item, dict) and str(item.get("$ref", "")).startswith("#/assertionTemplates/"):
            item = self._templates.get(item["$ref"].removeprefix("#/assertionTemplates/"))
        if not isinstance(item, dict) or not isinstance(item.get("type"), str):
            self._lose(place, "is not an assertion with a type; it is left out")
            return None
        if item["type"] == "assert-set":
            inner = [assertion for _, assertion in self.converted(f"{place}/assert", item.get("assert") or [])]
            return {**self._known(place, item, {"assert"}), "assert": inner} if inner else None
        prefix = NOT if item["type"].startswith(NOT) else ""
        name = ALIASES.get(base_type(item["type"]), base_type(item["type"]))
        if name not in FORMS:
            self._lose(f"{place}/type", f"{item['type']!r} is not supported; the assertion is left out: {SUPPORTED}")
            return None
        changing = sorted(item.keys() - FIELDS - OF_THE_JUDGE)
        if changing:
            self._lose(f"{place}/{changing[0]}", "has no counterpart in a suite; the assertion is left out")
            return None
        try:
            value = self._value(name, item.get("value"))
        except ValueError as error:
            self._lose(f"{place}/value", f"{error}; the assertion is left out")
            return None
        assertion = {**self._known(place, item, set()), "type": prefix + name}
        if "threshold" in assertion and name not in THRESHOLDS:
            self._lose(f"{place}/threshold", f"has no effect on {name}; the assertion is converted without it")
            del assertion["threshold"]
        return assertion if value is None else {**assertion, "value": value}

    def _known(self, place: str, item: Mapping[str, Any], more: set[str]) -> dict[str, Any]:
        """Returns the fields that a suite has, except the value and those in `more`, and notes the others."""
        for key in sorted(item.keys() - FIELDS - more):
            self._lose(f"{place}/{key}", "has no counterpart in a suite; the assertion is converted without it")
        return {key: item[key] for key in FIELDS - {"value"} if item.get(key) is not None}

    def _value(self, name: str, value: Any) -> Any:
        """Returns the value in the form of a suite. Raises `ValueError` with the reason."""
        if isinstance(value, str) and value.startswith("file://"):
            value = self._read_file(value)
        form = FORMS[name]
        if form in ("texts", "some") and isinstance(value, list):
            return [self._read_file(item) if str(item).startswith("file://") else item for item in value]
        if form == "texts" and isinstance(value, str):
            return next(csv.reader([value], skipinitialspace=True), [])
        if form == "schema" and isinstance(value, str):
            return load(value) if value else None
        if form == "count" and isinstance(value, str) and value.strip().isdecimal():
            return int(value)
        if form == "none":
            return None
        return value
