"""Opik: traces, which become registered completions, with the scores and comments of people. Pure."""

from collections.abc import Iterator
from typing import Any

from app.feedback.importing.drafts import Body, CompletionDraft, Draft, EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import texts_of
from app.feedback.importing.traced_texts import traced_answer, traced_prompt
from app.feedback.importing.values import as_text, object_of, required_id, time_of

_PEOPLE = ("ui", "sdk")  # online_scoring is a judge


def _recognises(row: Row) -> bool:
    return {"feedback_scores", "start_time", "input", "output"} <= _trace(row).keys()


def _trace(row: Row) -> Row:
    """Returns the trace: a record of the API, or in a file of `opik export` the field beside its spans."""
    return row["trace"] if isinstance(row.get("trace"), dict) and "spans" in row else row


def _drafts(row: Row, rules: Rules) -> Iterator[Draft]:
    row = _trace(row)
    if row.get("type") not in (None, "llm", "general"):
        raise SaysNothing("a span that is no call of a model holds no answer")
    if row.get("error_info") or row["output"] in (None, "", {}, []):
        raise SaysNothing("a trace that failed, or has no output, holds no answer")
    about = required_id(row.get("id"), "id")
    model = row.get("model") or object_of(row.get("metadata")).get("model")
    body: Body = {
        **texts_of(traced_prompt(row["input"]), traced_answer(row["output"])),
        "metadata": {"source": "Opik", **({"model": model} if isinstance(model, str) else {})},
    }
    if row.get("thread_id"):
        body["conversation_id"] = as_text(row["thread_id"], "thread_id")
    yield CompletionDraft(about, body)
    for score in row["feedback_scores"] or ():
        yield from _judged(about, object_of(score), rules)
    for comment in row.get("comments") or ():
        yield from _commented(about, object_of(comment))


def _judged(about: str, score: Row, rules: Rules) -> Iterator[Draft]:
    """Yields the score of each person: the value itself is their mean."""
    name = str(score.get("name", ""))
    people = object_of(score.get("value_by_author")) or {str(score.get("created_by", "")): score}
    for person, part in people.items():
        given = {**score, **object_of(part)}
        if given.get("source") not in _PEOPLE:
            yield SaysNothing(f"the score {name} is by a judge, not by a person")
            continue
        label = given.get("category_name")
        try:
            signal = rules.score(name, given.get("value"), label if isinstance(label, str) else None)
        except (Faulty, SaysNothing) as fault:
            yield fault
            continue
        body = _about(about, f"{name}/{person}", signal)
        # A product that scores by SDK does so for its users, whom it does not name.
        if given["source"] == "ui" and person:
            body["actor"] = person
        moment = given.get("last_updated_at") or given.get("created_at")
        if moment:
            body["occurred_at"] = time_of(moment)
        reason = given.get("reason")
        yield EventDraft(body | {"metadata": {"source": "Opik", "score": name}}, reason if _is_text(reason) else None)


def _commented(about: str, comment: Row) -> Iterator[Draft]:
    if _is_text(comment.get("text")):
        body = _about(about, f"comment/{comment.get('id')}", {"kind": "comment", "text": comment["text"]})
        if comment.get("created_by"):
            body["actor"] = str(comment["created_by"])
        if comment.get("created_at"):
            body["occurred_at"] = time_of(comment["created_at"])
        yield EventDraft(body)


def _about(about: str, judgement: str, signal: Body) -> Body:
    return {
        "event_id": f"{about}/{judgement}"[:128],
        "completion_id": about,
        "signal": signal,
        "origin": "import",
        "metadata": {"source": "Opik"},
    }


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


SHAPE = RecordShape(
    "opik",
    "traces of Opik",
    _recognises,
    _drafts,
    frozenset(
        {
            "id", "type", "model", "metadata", "input", "output", "error_info", "thread_id", "feedback_scores",
            "comments",
            "start_time",
            "trace",
            "spans",
        }
    ),
)  # fmt: skip
