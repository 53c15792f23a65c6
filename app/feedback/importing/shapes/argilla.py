"""Argilla: records with their fields and the responses of annotators. Pure."""

import re
from collections.abc import Iterator
from typing import Any

from app.feedback.importing.drafts import Body, Draft, EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules, number_of
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.shapes.table import NAMES
from app.feedback.importing.texts import body_of, first_of, preference_of
from app.feedback.importing.traced_texts import traced_answer, traced_prompt
from app.feedback.importing.values import as_text, object_of, time_of

_PROMPTS = (*NAMES["prompt"], "instruction", "chat", "text")
_TIES = ("tie", "equal", "same", "both", "neither")
_REWRITES = re.compile(r"correct|edit|improve|rewrite|revise")


def _recognises(row: Row) -> bool:
    return isinstance(row.get("fields"), dict) and "responses" in row


def _drafts(row: Row, rules: Rules) -> Iterator[Draft]:
    answers = list(_answers(row["responses"]))
    if not answers:
        raise SaysNothing("nobody submitted a response to the record")
    fields = row["fields"]
    prompt = traced_prompt(first_of(fields, _PROMPTS, "prompt"), "the prompt")
    record = as_text(row.get("id", row.get("external_id")), "id")
    for question, value, actor, moment in answers:
        try:
            body = _judged(fields, prompt, question, value, rules)
        except (Faulty, SaysNothing) as fault:
            yield fault
            continue
        body |= {"origin": "import", "metadata": {"source": "Argilla", "question": question}}
        if actor is not None:
            body["actor"] = as_text(actor, "user_id")
        if moment:
            body["occurred_at"] = time_of(moment)
        if record is not None and actor is not None:
            body["event_id"] = f"{record}/{question}/{body['actor']}"[-128:]
        yield EventDraft(body)


def _answers(responses: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    """Yields question, value, annotator and time of each submitted answer."""
    if isinstance(responses, dict):  # Argilla 2: by question
        for question, answers in responses.items():
            for answer in answers if isinstance(answers, list) else [answers]:
                if isinstance(answer, dict) and answer.get("status") in (None, "submitted"):
                    yield str(question), answer.get("value"), answer.get("user_id"), answer.get("updated_at")
        return
    for response in responses if isinstance(responses, list) else ():  # Argilla 1: by annotator
        if isinstance(response, dict) and response.get("status") in (None, "submitted"):
            moment = response.get("updated_at") or response.get("inserted_at")
            if "question_name" in response:
                yield str(response["question_name"]), response.get("value"), response.get("user_id"), moment
            for question, answer in object_of(response.get("values")).items():
                value = answer["value"] if isinstance(answer, dict) and "value" in answer else answer
                yield str(question), value, response.get("user_id"), moment


def _judged(fields: Row, prompt: Any, question: str, value: Any, rules: Rules) -> Body:
    ranks = _ranks(value)
    if ranks is not None:
        first, second = sorted(ranks, key=ranks.__getitem__)
        tie = ranks[first] == ranks[second]
        texts = [traced_answer(fields.get(name), f"the field {name}") for name in (first, second)]
        return preference_of(prompt, texts[0], texts[1], tie=tie)
    sides = _compared(fields, value)
    if sides is not None:
        texts = [traced_answer(fields[name], f"the field {name}") for name in sides]
        return preference_of(prompt, texts[0], texts[1], tie=value not in sides)
    answer = traced_answer(first_of(fields, NAMES["completion"], "answer"), "the answer")
    return body_of(prompt, answer, _signal(question, value, rules))


def _compared(fields: Row, value: Any) -> list[str] | None:
    """Returns the names of two answers, the preferred one first, if the response names one of them or a tie."""
    if not isinstance(value, str) or any(name in fields for name in NAMES["completion"]):
        return None
    sides = [name for name, text in fields.items() if name not in _PROMPTS and text is not None]
    if len(sides) != 2 or value not in (*sides, *_TIES):
        return None
    return sorted(sides, key=lambda name: name != value)


def _signal(question: str, value: Any, rules: Rules) -> Body:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value in (None, "", []):
        raise SaysNothing(f"the response to {question} is empty")
    if isinstance(value, str) and _REWRITES.search(question.lower()):
        return {"kind": "edit", "text": value}
    if rules.have_words:
        return rules.thumbs(value, question)
    if number_of(value) is not None:
        return rules.rating(value, question)
    if isinstance(value, str):
        return rules.choice(question, value)
    raise Faulty(f"the response to {question} is neither a label, a rating nor a text")


def _ranks(value: Any) -> dict[str, float] | None:
    """Returns the ranks of a ranking of two fields; None if the value is no ranking."""
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) and "rank" in item for item in value):
        return None
    ranks = {str(item.get("value")): number for item in value if (number := number_of(item["rank"])) is not None}
    if len(ranks) != 2:
        raise Faulty(f"a ranking of {len(value)} answers: only two can be compared")
    return ranks


SHAPE = RecordShape(
    "argilla", "records of Argilla", _recognises, _drafts, frozenset({"id", "external_id", "fields", "responses"})
)
