"""Reads the answers of a judge strictly: what is not exactly an answer is no answer. Pure.

The JSON object may stand alone, in a fence, or among words, but there must be only one with the fields of an answer: a
judge that quotes the object of a judged text and then gives its own has not answered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.suites.json_texts import JsonSearchEnded, decode, objects_in

#: Characters of an answer, after the reasoning that some models write before it.
MOST_ANSWER_CHARACTERS = 20_000
#: Characters of a judge's reason that are kept.
MOST_REASON_CHARACTERS = 500
END_OF_REASONING = "</think>"

Category = Literal["A", "B", "C", "D", "E"]
CATEGORIES: Mapping[Category, str] = {
    "A": "the output states a part of the expert's facts",
    "B": "the output states the expert's facts and more, consistent with them",
    "C": "the output states the same facts as the expert",
    "D": "the output contradicts the expert",
    "E": "the output differs from the expert in what does not matter for the facts",
}
#: As in promptfoo, every category passes but the contradiction.
PASSING: frozenset[Category] = frozenset({"A", "B", "C", "E"})
Better = Literal["first", "second", "tie"]


class UnusableAnswer(ValueError):
    """The text of the judge is not an answer; the message is the reason."""


@dataclass(frozen=True)
class RubricAnswer:
    """The judgement of an output by a rubric. An answer without a score has 1 or 0, by its verdict."""

    passed: bool
    score: float
    reason: str

    def finding(self, threshold: float | None) -> tuple[bool, float, str]:
        """Returns whether the rubric is satisfied, the score, and why: the verdict and, if given, the threshold."""
        holds = self.passed and (threshold is None or self.score >= threshold)
        finding = f"the judge gives {self.score:g}{'' if threshold is None else f', the threshold is {threshold:g}'}"
        return holds, self.score, f"{finding}: {self.reason}" if self.reason else finding

    def document(self) -> dict[str, Any]:
        """Returns the answer as the object that it was read from."""
        return {"pass": self.passed, "score": self.score, "reason": self.reason}


@dataclass(frozen=True)
class FactualityAnswer:
    category: Category
    reason: str

    def finding(self, _threshold: float | None = None) -> tuple[bool, float, str]:
        """Returns whether the facts are right, 1 or 0, and why."""
        holds = self.category in PASSING
        finding = f"{CATEGORIES[self.category]} ({self.category})"
        return holds, float(holds), f"{finding}: {self.reason}" if self.reason else finding

    def document(self) -> dict[str, Any]:
        """Returns the answer as the object that it was read from."""
        return {"category": self.category, "reason": self.reason}


@dataclass(frozen=True)
class PreferenceAnswer:
    better: Better
    reason: str

    def document(self) -> dict[str, Any]:
        """Returns the answer as the object that it was read from."""
        return {"better": self.better, "reason": self.reason}


def rubric_answer(text: str) -> RubricAnswer:
    """Returns the answer to a rubric. Raises `UnusableAnswer`."""
    answer = _answer(text, "pass", "score")
    passed, score = answer.get("pass"), answer.get("score")
    if not isinstance(passed, bool):
        raise UnusableAnswer(f"pass is {_brief(passed)}, neither true nor false")
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1):
        raise UnusableAnswer(f"score is {_brief(score)}, not a number from 0 to 1")
    return RubricAnswer(passed, float(passed if score is None else score), _reason(answer))


def factuality_answer(text: str) -> FactualityAnswer:
    """Returns the answer to a comparison of facts. Raises `UnusableAnswer`."""
    answer = _answer(text, "category")
    for category in CATEGORIES:
        if answer["category"] == category:
            return FactualityAnswer(category, _reason(answer))
    raise UnusableAnswer(f"category is {_brief(answer['category'])}, not one of {', '.join(CATEGORIES)}")


def preference_answer(text: str) -> PreferenceAnswer:
    """Returns the answer to a comparison of two outputs. Raises `UnusableAnswer`."""
    answer = _answer(text, "better")
    better = answer["better"]
    if better not in ("first", "second", "tie"):
        raise UnusableAnswer(f"better is {_brief(better)}, not one of first, second, tie")
    return PreferenceAnswer(better, _reason(answer))


def _answer(text: str, *fields: str) -> Mapping[str, Any]:
    """Returns the only object in the text that has any of the fields."""
    text = text.rpartition(END_OF_REASONING)[2].strip()
    if len(text) > MOST_ANSWER_CHARACTERS:
        raise UnusableAnswer(f"it has {len(text):,} characters, more than {MOST_ANSWER_CHARACTERS:,}")
    whole, fault = decode(text)
    try:
        candidates = [whole] if fault is None else list(objects_in(text))
    except JsonSearchEnded as error:
        raise UnusableAnswer(str(error)) from None
    answers = [item for item in candidates if isinstance(item, dict) and not item.keys().isdisjoint(fields)]
    if not answers:
        raise UnusableAnswer(f"it has no JSON object with {' or '.join(fields)}: {_brief(text)}")
    if len(answers) > 1:
        raise UnusableAnswer(f"it has {len(answers)} JSON objects with {' or '.join(fields)}, not one")
    return answers[0]


def _reason(answer: Mapping[str, Any]) -> str:
    reason = answer.get("reason")
    text = " ".join(reason.split()) if isinstance(reason, str) else ""
    return text if len(text) <= MOST_REASON_CHARACTERS else text[: MOST_REASON_CHARACTERS - 1] + "…"


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
