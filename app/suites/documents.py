"""Reads suites from documents with all their faults, and writes their canonical form. Pure."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from thumbwheel import wire
from thumbwheel.wire.suites import MOST_SAMPLES, Variable

from app.errors import Fault, Faults, brief, pointer_part
from app.feedback.signals import parse
from app.suites.filling import fill_all, names_in, unsupported_in
from app.suites.patterns import pattern, schema


def read(document: Any) -> wire.Suite | Faults:
    """Returns the suite of a document, or all faults of the document, each with its JSON pointer and the rule."""
    suite = parse(wire.Suite, document)
    if not isinstance(suite, wire.Suite):
        return suite
    return faults_of(suite) or suite


def faults_of(suite: wire.Suite) -> Faults:
    """Returns what the model of the document cannot check: it takes several fields, or an engine."""
    faults = list(_faults_of(suite))
    return Faults(faults, len(faults))


def document_of(suite: wire.Suite) -> dict[str, Any]:
    """Returns the whole suite as JSON values, with the defaults of omitted fields."""
    return suite.model_dump(mode="json", by_alias=True)


def sha256_of(suite: wire.Suite) -> str:
    """Returns the hash of the canonical JSON: sorted keys, no spaces. Suites are equal if their hashes are."""
    text = json.dumps(document_of(suite), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def prompts_of(suite: wire.Suite, test: wire.SuiteTest) -> list[wire.SuitePrompt]:
    """Returns the prompts that a test runs with."""
    return [prompt for prompt in suite.prompts if test.prompts is None or prompt.label in test.prompts]


def _faults_of(suite: wire.Suite) -> Iterator[Fault]:
    labels = Counter(prompt.label for prompt in suite.prompts)
    used: dict[str, set[str]] = {}
    for number, prompt in enumerate(suite.prompts):
        if labels[prompt.label] > 1:
            yield Fault(f"/prompts/{number}/label", f"{prompt.label!r} is there twice: label each prompt once")
        body = prompt.model_dump(mode="json")["prompt"]
        used[prompt.label] = names_in(body)
        yield from _unsupported(f"/prompts/{number}", body)
    samples = 0
    for number, test in enumerate(suite.tests):
        samples += len(prompts_of(suite, test))
        yield from _faults_of_test(f"/tests/{number}", test, used)
    if samples > MOST_SAMPLES:
        yield Fault("/tests", f"make {samples:,} samples with the prompts, more than {MOST_SAMPLES:,}: split the suite")


def _faults_of_test(at: str, test: wire.SuiteTest, used: Mapping[str, set[str]]) -> Iterator[Fault]:
    for number, label in enumerate(test.prompts or []):
        if label not in used:
            yield Fault(f"{at}/prompts/{number}", f"no prompt has the label {label!r}: use {', '.join(used)}")
    for label in test.prompts or used:
        for name in sorted(used.get(label, set()) - test.vars.keys()):
            yield Fault(f"{at}/vars", f"lacks {name}, which the prompt {label!r} uses: give it a value")
    if all(assertion.weight == 0 for assertion in test.assertions):
        yield Fault(f"{at}/assert", "has only assertions of weight 0, so no output could fail: give one a weight")
    for number, assertion in enumerate(test.assertions):
        place = f"{at}/assert/{number}"
        if isinstance(assertion, wire.Assertion):
            yield from _faults_of_assertion(place, assertion, test.vars)
            continue
        if all(item.weight == 0 for item in assertion.assertions):
            yield Fault(
                f"{place}/assert", "has only assertions of weight 0, so no output could fail: give one a weight"
            )
        for index, item in enumerate(assertion.assertions):
            yield from _faults_of_assertion(f"{place}/assert/{index}", item, test.vars)


def _faults_of_assertion(at: str, assertion: wire.Assertion, variables: Mapping[str, Variable]) -> Iterator[Fault]:
    at = f"{at}/value"
    faults = list(_unsupported(at, assertion.value))
    for name in sorted(names_in(assertion.value) - variables.keys()):
        faults.append(Fault(at, f"uses {name}, which the variables of the test lack: add it to vars"))
    yield from faults
    if faults:
        return
    value = fill_all(assertion.value, variables)
    try:
        if assertion.base == "regex":
            pattern(value)
        elif assertion.base in ("is-json", "contains-json") and value is not None:
            schema(value)
        elif assertion.base != "equals":
            _check_not_empty(value)
    except ValueError as error:
        yield Fault(at, brief(str(error)))


def _check_not_empty(value: Any) -> None:
    if "" in (value if isinstance(value, list) else [value]):
        raise ValueError("is empty with the variables of the test: every output contains an empty text")


def _unsupported(at: str, value: Any) -> Iterator[Fault]:
    rest = unsupported_in(value)
    if rest is not None:
        yield Fault(
            at,
            f"has {brief(rest, 40)!r}: only {{{{ name }}}} is filled in, without filters, conditions or loops; "
            "write a literal {{ as the value of a variable",
        )


def pointer(*parts: str | int) -> str:
    """Returns the JSON pointer of a path."""
    return "".join(f"/{pointer_part(str(part))}" for part in parts)
