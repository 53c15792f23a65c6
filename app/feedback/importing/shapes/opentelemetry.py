"""OpenTelemetry: events `gen_ai.evaluation.result`, flat or in OTLP's envelopes. Pure."""

from collections.abc import Iterator
from typing import Any

from app.feedback.importing.drafts import Body, Draft, EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.values import as_text, required_id, time_of

EVENT = "gen_ai.evaluation.result"
_NAME = "gen_ai.evaluation.name"


def _is_event(row: Row) -> bool:
    return "resourceLogs" in row or "scopeLogs" in row or _named(row)


def _named(row: Row) -> bool:
    attributes = row.get("attributes")
    if EVENT in (row.get("eventName"), row.get("event_name"), row.get("name")):
        return True
    return isinstance(attributes, dict | list) and _NAME in _attributes(attributes)


def _event(row: Row, rules: Rules) -> Iterator[Draft]:
    for key in ("resourceLogs", "scopeLogs", "logRecords"):
        if isinstance(row.get(key), list):
            for part in row[key]:
                yield from _part(part, rules)
            return
    attributes = _attributes(row.get("attributes"))
    if not _named(row):
        raise SaysNothing(f"the record is no {EVENT}")
    name = attributes.get(_NAME)
    if not isinstance(name, str) or not name:
        raise Faulty(f"{_NAME} is missing")
    about = attributes.get("gen_ai.response.id") or row.get("spanId") or row.get("span_id")
    body: Body = {
        "completion_id": required_id(about, "gen_ai.response.id"),
        "origin": "import",
        "metadata": {"source": "OpenTelemetry", "evaluation": name},
    }
    moment = row.get("timeUnixNano") or row.get("observedTimeUnixNano") or row.get("timestamp")
    if moment:
        body["occurred_at"] = time_of(moment)
    actor = attributes.get("enduser.id") or attributes.get("user.id")
    if actor is not None:
        body["actor"] = as_text(actor, "user.id")
    if attributes.get("gen_ai.conversation.id"):
        body["conversation_id"] = as_text(attributes["gen_ai.conversation.id"], "gen_ai.conversation.id")
    value, label = attributes.get("gen_ai.evaluation.score.value"), attributes.get("gen_ai.evaluation.score.label")
    explanation = attributes.get("gen_ai.evaluation.explanation")
    comment = explanation if isinstance(explanation, str) and explanation.strip() else None
    if value is not None or label:
        signal = rules.score(name, label if value is None else value, label if isinstance(label, str) else None)
    elif comment is not None:
        signal, comment = {"kind": "comment", "text": comment}, None
    else:
        raise SaysNothing(f"the evaluation {name} has neither a score nor an explanation")
    yield EventDraft({**body, "signal": signal}, comment)


def _part(part: Any, rules: Rules) -> Iterator[Draft]:
    """Yields the drafts of a part of an envelope; a fault concerns that part alone."""
    if not isinstance(part, dict):
        yield Faulty("a part of the envelope is not a JSON object")
        return
    try:
        yield from _event(part, rules)
    except (Faulty, SaysNothing) as fault:
        yield fault


def _attributes(attributes: Any) -> dict[str, Any]:
    """Returns attributes as an object; OTLP writes a list of keys, each with a value by its type."""
    if isinstance(attributes, dict):
        return attributes
    read: dict[str, Any] = {}
    for item in attributes if isinstance(attributes, list) else ():
        if isinstance(item, dict) and isinstance(item.get("value"), dict) and item["value"]:
            kind, value = next(iter(item["value"].items()))
            read[str(item.get("key"))] = int(value) if kind == "intValue" and str(value).isdecimal() else value
    return read


SHAPE = RecordShape(
    "opentelemetry",
    f"events {EVENT} of OpenTelemetry",
    _is_event,
    _event,
    frozenset(
        {
            "resourceLogs",
            "scopeLogs",
            "logRecords",
            "attributes",
            "timeUnixNano",
            "observedTimeUnixNano",
            "timestamp",
            "spanId",
            "span_id",
            "traceId",
            "trace_id",
            "eventName",
            "event_name",
            "name",
        }
    ),
)
