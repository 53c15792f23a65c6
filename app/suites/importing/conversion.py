"""The result of a conversion, and the check of each converted test. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from thumbwheel import wire

from app.bounded_yaml import dump
from app.errors import Fault, Invalid
from app.suites.documents import read


@dataclass(frozen=True)
class Conversion:
    """A suite as YAML, and what could not be converted."""

    text: str
    losses: Sequence[Fault]


@dataclass
class Draft:
    """The parts of a suite that is being converted, and the losses so far."""

    name: str
    description: str = ""
    prompts: list[Mapping[str, Any]] = field(default_factory=list)
    tests: list[dict[str, Any]] = field(default_factory=list)
    losses: list[Fault] = field(default_factory=list)

    def lose(self, pointer: str, message: str) -> None:
        """Notes what is not converted."""
        self.losses.append(Fault(pointer, message))

    def add_test(self, pointer: str, test: dict[str, Any], sources: Sequence[str]) -> None:
        """Adds a test if it is valid with the prompts, without those of its assertions that are not.

        sources  the place of each assertion in the file
        """
        assertions = list(zip(sources, test.get("assert", []), strict=True))
        while assertions:
            suite = read(self._document([{**test, "assert": [assertion for _, assertion in assertions]}]))
            if isinstance(suite, wire.Suite):
                self.tests.append({**test, "assert": [assertion for _, assertion in assertions]})
                return
            invalid = {number for fault in suite if (number := _assertion_number(fault.pointer)) is not None}
            for fault in suite:
                number = _assertion_number(fault.pointer)
                place = pointer + fault.pointer.removeprefix("/tests/0")
                if number is not None:
                    place = assertions[number][0] + fault.pointer.removeprefix(f"/tests/0/assert/{number}")
                self.lose(place, f"{fault.message}; {'the test' if number is None else 'the assertion'} is left out")
            if not invalid:
                return
            assertions = [item for number, item in enumerate(assertions) if number not in invalid]
        self.lose(pointer, "no assertion is left, so any output would pass; the test is left out")

    def finished(self) -> Conversion:
        """Returns the suite. Raises `Invalid` if no test is left."""
        if not self.tests:
            reasons = "; ".join(f"{loss.pointer or '/'}: {loss.message}" for loss in self.losses[:3])
            raise Invalid(f"No test could be converted: {reasons or 'the file has none'}.", code="invalid_suite")
        suite = read(self._document(self.tests))
        if not isinstance(suite, wire.Suite):
            raise Invalid(f"The tests are not a suite together: {suite.sentence()}", code="invalid_suite")
        return Conversion(
            dump(suite.model_dump(mode="json", by_alias=True, exclude_defaults=True)),
            list(dict.fromkeys(self.losses)),
        )

    def _document(self, tests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {"name": self.name, "description": self.description, "prompts": self.prompts, "tests": tests}


def _assertion_number(pointer: str) -> int | None:
    """Returns the number of the assertion at which a fault of the first test points, or None."""
    parts = pointer.split("/")
    return int(parts[4]) if parts[:4] == ["", "tests", "0", "assert"] and len(parts) > 4 else None
