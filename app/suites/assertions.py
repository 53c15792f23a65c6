"""Judges an output by an assertion: passed, failed or undecided, with a score and a reason. Pure.

The meaning of each type is promptfoo's, with the exceptions that `docs/suites.md` lists. What an embedding endpoint or
a judge has to say is part of the `Evidence`. Without it such an assertion is undecided: neither passed nor failed, and
its score is unknown, not zero.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Literal

from rapidfuzz.distance import Levenshtein
from thumbwheel.wire.suites import THRESHOLDS, Assertion, Variable

from app.suites.filling import fill_all
from app.suites.json_texts import JsonSearchEnded, decode, objects_in
from app.suites.judge.answers import FactualityAnswer, RubricAnswer
from app.suites.patterns import pattern, schema
from app.suites.refusals import is_refusal

Verdict = Literal["passed", "failed", "undecided"]
Vector = Sequence[float]

NO_EMBEDDINGS = "needs an embedding endpoint, and none is configured"
NO_JUDGE = "needs a judge, and none is configured"
#: Types that a judge decides.
JUDGED = ("llm-rubric", "factuality")
#: Characters of an output or a value in a reason.
SHOWN = 80


@dataclass(frozen=True)
class Graded:
    """The verdict on an output. The score lies between `low` and `high`, which differ if a part is undecided."""

    verdict: Verdict
    low: float
    high: float
    reason: str

    @property
    def score(self) -> float | None:
        """The score; None if it is not known."""
        return self.low if self.low == self.high else None


@dataclass(frozen=True)
class JudgeTask:
    """A rubric, or the answer of an expert, that an output is judged by. `value` is a text or JSON as text."""

    base: str
    value: str


@dataclass(frozen=True)
class Evidence:
    """The statements of others about an output.

    vectors     embeddings by text
    no_vectors  the reason why a text has none
    judged      answers of a judge, or the reason why a task has none
    """

    vectors: Mapping[str, Vector] = field(default_factory=dict)
    no_vectors: str = NO_EMBEDDINGS
    judged: Mapping[JudgeTask, RubricAnswer | FactualityAnswer | str] = field(default_factory=dict)


NO_EVIDENCE = Evidence()


def undecided(reason: str) -> Graded:
    """Returns the verdict on what cannot be judged."""
    return Graded("undecided", 0.0, 1.0, reason)


def grade(
    assertion: Assertion, output: str, variables: Mapping[str, Variable], evidence: Evidence = NO_EVIDENCE
) -> Graded:
    """Returns the verdict of one assertion on an output; its value is filled with the variables first."""
    value = fill_all(assertion.value, variables)
    if assertion.base in JUDGED:
        return _judged(assertion, output, value, evidence)
    if assertion.base == "similar":
        return _similar(assertion, output, value, evidence)
    if assertion.base == "is-refusal" and not output.strip():
        return Graded("failed", 0.0, 0.0, "the output is empty: it neither refuses nor answers")
    try:
        holds, finding = _HOLDS[assertion.base](output, value, assertion)
    except JsonSearchEnded as error:
        return undecided(str(error))
    passed = holds != assertion.inverse
    score = 1.0 if passed else 0.0
    return Graded("passed" if passed else "failed", score, score, finding)


def texts_to_embed(assertion: Assertion, output: str, variables: Mapping[str, Variable]) -> list[str]:
    """Returns the texts whose embeddings the assertion needs."""
    if assertion.base != "similar":
        return []
    value = fill_all(assertion.value, variables)
    return [output, *(value if isinstance(value, list) else [value])]


def judge_task(assertion: Assertion, output: str, variables: Mapping[str, Variable]) -> JudgeTask | None:
    """Returns what a judge has to decide for the assertion; None if it needs no judge."""
    if assertion.base not in JUDGED or _states_nothing(assertion, output):
        return None
    return _task(assertion, fill_all(assertion.value, variables))


def _task(assertion: Assertion, value: Any) -> JudgeTask:
    return JudgeTask(assertion.base, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _states_nothing(assertion: Assertion, output: str) -> bool:
    return assertion.base == "factuality" and not output.strip()


def _judged(assertion: Assertion, output: str, value: Any, evidence: Evidence) -> Graded:
    if _states_nothing(assertion, output):
        return Graded("failed", 0.0, 0.0, "the output is empty: it states no facts")
    answer = evidence.judged.get(_task(assertion, value), NO_JUDGE)
    if isinstance(answer, str):
        return undecided(answer)
    holds, score, finding = answer.finding(assertion.threshold)
    passed = holds != assertion.inverse
    score = 1 - score if assertion.inverse else score
    return Graded("passed" if passed else "failed", score, score, finding)


def _similar(assertion: Assertion, output: str, value: Any, evidence: Evidence) -> Graded:
    """Compares by the cosine with the most similar of the texts."""
    texts = value if isinstance(value, list) else [value]
    vectors = [evidence.vectors.get(text) for text in [output, *texts]]
    cosines = [] if None in vectors else [_cosine(vectors[0] or (), vector or ()) for vector in vectors[1:]]
    if not cosines or None in cosines:
        return undecided(evidence.no_vectors)
    cosine = max(number for number in cosines if number is not None)
    threshold = _threshold(assertion)
    passed = (cosine >= threshold) != assertion.inverse
    score = min(1.0, max(0.0, 1 - cosine if assertion.inverse else cosine))
    reason = f"the similarity is {cosine:.3f}, the threshold {threshold:g}"
    return Graded("passed" if passed else "failed", score, score, reason)


def _cosine(first: Vector, second: Vector) -> float | None:
    norms = sqrt(sum(x * x for x in first)) * sqrt(sum(x * x for x in second))
    if len(first) != len(second) or not norms > 0:
        return None
    return sum(x * y for x, y in zip(first, second, strict=True)) / norms


def _threshold(assertion: Assertion) -> float:
    return assertion.threshold if assertion.threshold is not None else THRESHOLDS[assertion.base][0] or 0.0


def brief(value: Any) -> str:
    """Returns a value as a short text in quotes."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")


# Each of the following returns whether the type without `not-` holds, and what was found.
Finding = tuple[bool, str]


def _equals(output: str, value: Any, _: Assertion) -> Finding:
    if isinstance(value, dict | list):
        decoded, fault = decode(output)
        return fault is None and _same(decoded, value), f"the output is {brief(output)}, compared with {brief(value)}"
    expected = value if isinstance(value, str) else json.dumps(value)
    return output == expected, f"the output is {brief(output)}, compared with {brief(expected)}"


def _same(first: Any, second: Any) -> bool:
    """Returns whether two JSON values are equal; true is not 1."""
    return bool(first == second) and json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


def _contains(
    which: Callable[[Sequence[bool]], bool], *, any_case: bool = False
) -> Callable[[str, Any, Assertion], Finding]:
    def holds(output: str, value: Any, _: Assertion) -> Finding:
        values = value if isinstance(value, list) else [value]
        text = output.lower() if any_case else output
        present = [(item.lower() if any_case else item) in text for item in values]
        having = [brief(item) for item, there in zip(values, present, strict=True) if there]
        lacking = [brief(item) for item, there in zip(values, present, strict=True) if not there]
        parts = [f"the output contains {_some(having)}"] if having else []
        parts += [f"{'it' if having else 'the output'} lacks {_some(lacking)}"] if lacking else []
        return which(present), " and ".join(parts)

    return holds


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - 5} more" if len(items) > 5 else ""
    return ", ".join(items[:5]) + more


def _starts_with(output: str, value: str, _: Assertion) -> Finding:
    return output.startswith(value), f"the output starts with {brief(output[: max(len(value), 20)])}"


def _ends_with(output: str, value: str, _: Assertion) -> Finding:
    return output.endswith(value), f"the output ends with {brief(output[-max(len(value), 20) :])}"


def _regex(output: str, value: str, _: Assertion) -> Finding:
    match = pattern(value).search(output)
    return match is not None, (
        f"the pattern {brief(value)} matches {brief(match[0])}"
        if match
        else f"the pattern {brief(value)} does not match"
    )


def _is_json(output: str, value: Any, _: Assertion) -> Finding:
    decoded, fault = decode(output)
    if fault is not None:
        return False, f"the output is not JSON: {fault}"
    return _conforms(decoded, value)


def _contains_json(output: str, value: Any, _: Assertion) -> Finding:
    reason = "the output contains no JSON object or array"
    for item in objects_in(output):
        holds, reason = _conforms(item, value)
        if holds:
            return True, reason
    return False, reason


def _conforms(decoded: Any, document: Any) -> Finding:
    if document is None:
        return True, "the output is JSON"
    error = next(schema(document).iter_errors(decoded), None)
    if error is None:
        return True, "the JSON conforms to the schema"
    path = "/".join(map(str, error.instance_path))
    return False, f"the JSON does not conform to the schema at /{path}: {brief(error.message)}"


def _count(noun: str, count: Callable[[str], int]) -> Callable[[str, Any, Assertion], Finding]:
    def holds(output: str, value: Any, _: Assertion) -> Finding:
        bounds = value if isinstance(value, dict) else {"min": value, "max": value}
        number = count(output)
        within = bounds.get("min", 0) <= number and not ("max" in bounds and number > bounds["max"])
        low, high = bounds.get("min", 0), bounds.get("max", "any number")
        return within, f"the output has {number:,} {noun}, compared with {low} to {high}"

    return holds


def _refusal(output: str, _value: Any, _: Assertion) -> Finding:
    refuses = is_refusal(output)
    return refuses, f"the output {'is a refusal' if refuses else 'is not a refusal'}: {brief(output)}"


def _levenshtein(output: str, value: str, assertion: Assertion) -> Finding:
    threshold = int(_threshold(assertion))
    distance = Levenshtein.distance(output, value, score_cutoff=threshold)
    edits = f"more than {threshold}" if distance > threshold else str(distance)
    return distance <= threshold, f"the output is {edits} edits from {brief(value)}; the threshold is {threshold}"


_HOLDS: Mapping[str, Callable[[str, Any, Assertion], Finding]] = {
    "equals": _equals,
    "contains": _contains(all),
    "contains-any": _contains(any),
    "contains-all": _contains(all),
    "icontains": _contains(all, any_case=True),
    "icontains-any": _contains(any, any_case=True),
    "icontains-all": _contains(all, any_case=True),
    "starts-with": _starts_with,
    "ends-with": _ends_with,
    "regex": _regex,
    "is-json": _is_json,
    "contains-json": _contains_json,
    "word-count": _count("words", lambda text: len(text.split())),
    "character-count": _count("characters", len),
    "is-refusal": _refusal,
    "levenshtein": _levenshtein,
}
