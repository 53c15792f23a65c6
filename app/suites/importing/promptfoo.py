"""Converts the configuration of promptfoo into a suite. Pure: a function reads the files that it names.

Converted are prompts, tests, defaultTest, vars and simple scenarios. A test whose meaning would change is left out as a
whole, since its verdict would be another one; so is an assertion without a counterpart.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from app.suites.documents import pointer
from app.suites.importing.conversion import Conversion, Draft
from app.suites.importing.promptfoo_assertions import Assertions, ReadFile
from app.suites.importing.promptfoo_prompts import prompts_in

#: Fields that say how promptfoo runs or shows tests, not what they mean.
IRRELEVANT = frozenset(
    {
        "$schema", "commandLineOptions", "description", "env", "evaluateOptions", "metadata", "outputPath", "providers",
        "sharing", "tags", "targets", "writeLatestResults",
    }
)  # fmt: skip
CONVERTED = frozenset({"prompts", "tests", "defaultTest", "scenarios", "assertionTemplates"})
#: Tests that lists of values in `vars` may stand for.
MOST_COMBINATIONS = 1_000


def convert(config: Any, name: str, read_file: ReadFile) -> Conversion:
    """Returns the suite of a configuration, with everything that is not converted.

    read_file  returns the content of a file that the configuration names: a text, or the value of JSON or YAML
    """
    draft = Draft(name)
    if not isinstance(config, dict):
        draft.lose("", "is not a configuration of promptfoo: it is no mapping")
        return draft.finished()
    draft.description = str(config.get("description") or "")
    for key in sorted(config.keys() - IRRELEVANT - CONVERTED):
        draft.lose(pointer(key), "has no counterpart in a suite")
    draft.prompts.extend(prompts_in(config.get("prompts"), read_file, draft.lose))
    if draft.prompts:
        _Tests(config, draft, read_file).add_all()
    return draft.finished()


class _Tests:
    def __init__(self, config: Mapping[str, Any], draft: Draft, read_file: ReadFile) -> None:
        self._config = config
        self._draft = draft
        self._read_file = read_file
        self._assertions = Assertions(config.get("assertionTemplates") or {}, read_file, draft.lose)

    def add_all(self) -> None:
        """Adds the tests of the configuration to the draft."""
        default = self._mapping("/defaultTest", self._config.get("defaultTest") or {})
        if default is None:
            return
        parts = [("/defaultTest", default)]
        for place, test in self._list("/tests", self._config.get("tests") or []):
            self._add(place, [*parts, (place, test)])
        for place, scenario in self._list("/scenarios", self._config.get("scenarios") or []):
            for at, data in self._list(f"{place}/config", scenario.get("config") or []):
                for beneath, test in self._list(f"{place}/tests", scenario.get("tests") or [{}]):
                    self._add(at, [*parts, (at, data), (beneath, test)])

    def _add(self, place: str, parts: list[tuple[str, Mapping[str, Any]]]) -> None:
        """Adds the test that these parts make, each over the ones before it, and with the assertions of all."""
        variables: dict[str, Any] = {}
        test: dict[str, Any] = {}
        assertions: list[tuple[str, Any]] = []
        for at, part in parts:
            unknown = sorted(
                key
                for key in part.keys() - IRRELEVANT - {"vars", "assert", "threshold", "prompts"}
                if part[key] not in (None, {}, [])
            )
            if unknown:
                self._draft.lose(f"{at}/{unknown[0]}", "has no counterpart in a suite; the test is left out")
                return
            more = self._mapping(f"{at}/vars", part.get("vars") or {})
            if more is None:
                return
            variables |= more
            if part.get("threshold") is not None:
                test["threshold"] = part["threshold"]
            if part.get("prompts") is not None:
                test["prompts"] = part["prompts"]
            assertions += self._assertions.converted(f"{at}/assert", part.get("assert") or [])
            test["description"] = str(part.get("description") or test.get("description") or "")
        for values in self._combinations(f"{place}/vars", variables):
            converted = {**test, "vars": values, "assert": [assertion for _, assertion in assertions]}
            self._draft.add_test(place, converted, [source for source, _ in assertions])

    def _combinations(self, place: str, variables: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yields the variables for each combination of the values in lists."""
        choices: list[list[Any]] = []
        number = 1
        for name, value in variables.items():
            options = [self._value(f"{place}/{name}", item) for item in (value if isinstance(value, list) else [value])]
            if None in options:
                return
            choices.append(options)
            number *= len(options)
        if number > MOST_COMBINATIONS:
            self._draft.lose(
                place, f"stands for {number:,} tests, more than {MOST_COMBINATIONS:,}; the test is left out"
            )
            return
        for combination in product(*choices):
            yield dict(zip(variables, combination, strict=True))

    def _value(self, place: str, value: Any) -> Any:
        """Returns the value of a variable; None, with a loss, if it has none in a suite."""
        if value is None:
            return ""
        if isinstance(value, str) and value.startswith("file://"):
            content = self._content(place, value)
            return content.rstrip("\r\n") if isinstance(content, str) else content and self._value(place, content)
        if isinstance(value, str) and ("{{" in value or "{%" in value):
            self._draft.lose(place, "is a template of its own, which a suite does not fill; the test is left out")
            return None
        if isinstance(value, dict | list):
            self._draft.lose(place, "is an object or a list; write its parts as variables. The test is left out")
            return None
        return value

    def _mapping(self, place: str, value: Any) -> Mapping[str, Any] | None:
        """Returns a mapping, or that in the file which the value names; None, with a loss, if there is none."""
        content = self._content(place, value) if isinstance(value, str) else value
        if isinstance(content, dict) or content is None:
            return content
        self._draft.lose(place, "is not a mapping; what depends on it is left out")
        return None

    def _list(self, place: str, value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yields place and content of each mapping in a list, also of lists in files."""
        content = self._content(place, value) if isinstance(value, str) else value
        if content is None:
            return
        for number, item in enumerate(content if isinstance(content, list) else [content]):
            if isinstance(item, str):
                yield from self._list(f"{place}/{number}", item)
            elif isinstance(item, dict):
                yield f"{place}/{number}", item
            else:
                self._draft.lose(f"{place}/{number}", "is not a mapping; it is left out")

    def _content(self, place: str, reference: str) -> Any:
        try:
            return self._read_file(reference)
        except ValueError as error:
            self._draft.lose(place, f"{reference}: {error}")
            return None
