"""MLflow: traces, which become registered completions, with the assessments of people. Pure."""

import json
from collections.abc import Iterator
from typing import Any

from app.feedback.importing.drafts import Body, CompletionDraft, Draft, EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules, shown
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import texts_of
from app.feedback.importing.traced_texts import traced_answer, traced_prompt
from app.feedback.importing.values import object_of, required_id, time_of

#: Names of expectations that are the whole answer which should have been given.
_DESIRED = ("expected_response", "expected_output", "expected_answer", "ground_truth", "correction")
_NOBODY = "default"


def _recognises(row: Row) -> bool:
    info, data = row.get("info"), row.get("data")
    return (
        isinstance(info, dict)
        and isinstance(data, dict)
        and bool(info.keys() & {"trace_id", "request_id"})
        and isinstance(data.get("spans"), list)
    )


def _drafts(row: Row, rules: Rules) -> Iterator[Draft]:
    info = row["info"]
    about = required_id(info.get("trace_id", info.get("request_id")), "info.trace_id")
    given, answered = _texts(row)
    if answered in (None, "", {}, []):
        raise SaysNothing("a trace without an output holds no answer")
    facts = object_of(info.get("trace_metadata"))
    answer = traced_answer(answered, "the output")
    body: Body = {**texts_of(traced_prompt(given, "the input"), answer), "metadata": {"source": "MLflow"}}
    session = facts.get("mlflow.trace.session")
    if isinstance(session, str) and session:
        body["conversation_id"] = session
    yield CompletionDraft(about, body)
    assessments = info.get("assessments")
    for assessment in assessments if isinstance(assessments, list) else ():
        try:
            yield _event(about, assessment, answer, rules)
        except (Faulty, SaysNothing) as fault:
            yield fault


def _texts(row: Row) -> tuple[Any, Any]:
    """Returns input and output of the trace: those of the span that has no parent, or of older exports' fields."""
    data = row["data"]
    root = next((span for span in data["spans"] if isinstance(span, dict) and not _parent(span)), {})
    attributes = object_of(root.get("attributes"))
    texts = [attributes.get(f"mlflow.span{name}s") for name in ("Input", "Output")]
    if texts == [None, None]:
        texts = [data.get("request"), data.get("response")]
    return _decoded(texts[0]), _decoded(texts[1])


def _parent(span: Row) -> Any:
    return span.get("parent_span_id") or span.get("parent_id")


def _decoded(value: Any) -> Any:
    """Returns an attribute, which MLflow writes as JSON."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def _event(about: str, assessment: Any, answer: Any, rules: Rules) -> EventDraft:
    assessment = object_of(assessment)
    name, source = str(assessment.get("assessment_name", "")), object_of(assessment.get("source"))
    if source.get("source_type") != "HUMAN":
        raise SaysNothing(f"the assessment {name} is by {shown(source.get('source_type'))}, not by a person")
    if assessment.get("valid") is False:
        raise SaysNothing(f"the assessment {name} was replaced by a later one")
    if assessment.get("span_id"):
        raise SaysNothing(f"the assessment {name} is about a step of the trace, not about its answer")
    body: Body = {
        "event_id": required_id(assessment.get("assessment_id"), "assessment_id"),
        "completion_id": about,
        "signal": _signal(name, assessment, answer, rules),
        "origin": "import",
        "metadata": {"source": "MLflow", "assessment": name},
    }
    if source.get("source_id") not in (None, "", _NOBODY):
        body["actor"] = str(source["source_id"])
    moment = assessment.get("last_update_time") or assessment.get("create_time")
    if moment:
        body["occurred_at"] = time_of(moment)
    rationale = assessment.get("rationale")
    return EventDraft(body, rationale if isinstance(rationale, str) else None)


def _signal(name: str, assessment: Row, answer: Any, rules: Rules) -> Body:
    if "feedback" in assessment:
        value = object_of(assessment["feedback"]).get("value")
        if value in (None, "", [], {}):
            raise SaysNothing(f"the assessment {name} has no value")
        if not isinstance(value, str | int | float):
            raise Faulty(f"the assessment {name} is {shown(value)}: must be a text, a number, true or false")
        return rules.score(name, value, value if isinstance(value, str) else None)
    text = object_of(assessment.get("expectation")).get("value")
    if name not in _DESIRED or not isinstance(text, str) or not text.strip():
        raise SaysNothing(f"the expectation {name} is not the text of an answer")
    return {"kind": "accept"} if text == answer else {"kind": "edit", "text": text}


SHAPE = RecordShape("mlflow", "traces of MLflow", _recognises, _drafts, frozenset({"info", "data"}))
