"""Langfuse: scores, traces and observations of its API and exports, and events of its ingestion. Pure.

A trace or generation with an input and an output becomes a registered completion under its own id; a score becomes an
event about its observation, else about its trace.
"""

from collections.abc import Iterator
from typing import Any

from app.feedback.importing.drafts import Body, CompletionDraft, Draft, EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules, shown
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import texts_of
from app.feedback.importing.traced_texts import traced_answer, traced_prompt
from app.feedback.importing.values import as_text, object_of, required_id, time_of

_SAMPLING = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty")
_OBSERVATIONS = (
    "SPAN", "EVENT", "GENERATION", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL", "CHAT",
)  # fmt: skip
_BODIES = ("trace-create", "generation-create", "generation-update", "score-create")


def _is_score(row: Row) -> bool:
    return bool(row.keys() & {"traceId", "sessionId", "trace_id"}) and (
        {"name", "value", "dataType"} <= row.keys() or {"name", "value", "data_type"} <= row.keys()
    )


def _score(row: Row, rules: Rules) -> Iterator[Draft]:
    name = row.get("name")
    if not isinstance(name, str) or not name:
        raise Faulty("the score has no name")
    if row.get("source") == "EVAL":
        raise SaysNothing(f"the score {name} is by an evaluator, not by a person")
    about = next((row[key] for key in ("observationId", "observation_id", "traceId", "trace_id") if row.get(key)), None)
    if about is None:
        raise Faulty(f"the score {name} is about a session, not about one completion")
    kind, value = row.get("dataType", row.get("data_type")), row.get("value")
    body: Body = {
        "completion_id": required_id(about, "traceId"),
        "signal": _signal(name, kind, value, row.get("stringValue"), rules),
        "origin": "import",
        "metadata": _metadata(row) | {"score": name},
    }
    if row.get("id") is not None:
        body["event_id"] = as_text(row["id"], "id")
    moment = row.get("timestamp") or row.get("createdAt")
    if row.get("updatedAt") and row.get("createdAt") and row["updatedAt"] != row["createdAt"]:
        moment = row["updatedAt"]
    if moment:
        body["occurred_at"] = time_of(moment)
    actor = row.get("userId") or object_of(row.get("trace")).get("userId") or row.get("authorUserId")
    if actor is not None:
        body["actor"] = as_text(actor, "userId")
    comment = row.get("comment")
    yield EventDraft(body, comment if isinstance(comment, str) else None)


def _signal(name: str, kind: Any, value: Any, text: Any, rules: Rules) -> Body:
    if kind == "CORRECTION":
        if not isinstance(value, str) or not value.strip():
            raise Faulty(f"the correction {name} has no text")
        return {"kind": "edit", "text": value}
    if kind == "BOOLEAN":
        if value not in (0, 1, "0", "1", "true", "false", "True", "False"):
            raise Faulty(f"the score {name} is {shown(value)}: must be 0 or 1")
        return rules.score(name, value in (1, "1", "true", "True"))
    if kind == "CATEGORICAL":
        value = value if isinstance(value, str) else text
    return rules.score(name, value, text if isinstance(text, str) else None)


def _is_trace(row: Row) -> bool:
    fields = row.keys()
    if row.get("type") not in (None, *_OBSERVATIONS):  # other tools' traces have types in lower case
        return False
    return {"input", "output"} <= fields and bool(
        fields & {"traceId", "sessionId", "userId", "observations", "trace_id", "htmlPath"}
    )


def _trace(row: Row, rules: Rules) -> Iterator[Draft]:
    if row.get("type") not in (None, "GENERATION", "CHAT", "AGENT"):
        raise SaysNothing(f"an observation of type {shown(row['type'])} is no answer of a model")
    yield _completion(row)
    for score in row.get("scores") or ():
        if isinstance(score, dict):  # lists of traces hold the ids alone
            yield from _score({"traceId": row["id"], "userId": row.get("userId"), **score}, rules)


def _completion(row: Row) -> CompletionDraft:
    if row.get("output") in (None, "", {}, []):
        raise SaysNothing("a trace without an output holds no answer")
    body: Body = {
        **texts_of(traced_prompt(row.get("input")), traced_answer(row.get("output"))),
        "metadata": _metadata(row) | ({"model": row["model"]} if isinstance(row.get("model"), str) else {}),
    }
    if row.get("sessionId"):
        body["conversation_id"] = as_text(row["sessionId"], "sessionId")
    parameters = object_of(row.get("modelParameters"))
    sampling = {name: parameters[name] for name in _SAMPLING if parameters.get(name) is not None}
    return CompletionDraft(required_id(row.get("id"), "id"), body | ({"sampling": sampling} if sampling else {}))


def _metadata(row: Row) -> Body:
    environment = row.get("environment")
    return {"source": "Langfuse", **({"environment": environment} if isinstance(environment, str) else {})}


def _is_ingested(row: Row) -> bool:
    return isinstance(row.get("body"), dict) and isinstance(row.get("type"), str) and "timestamp" in row


def _ingested(row: Row, rules: Rules) -> Iterator[Draft]:
    kind, body = row["type"], row["body"]
    if kind not in _BODIES:
        raise SaysNothing(f"{kind} is neither an answer nor a score")
    if kind == "score-create":
        yield from _score({"timestamp": row["timestamp"], **body}, rules)
    elif kind == "generation-update" and not (body.get("input") and body.get("output")):
        raise Faulty("generation-update holds a part of a generation: export traces or observations instead")
    else:
        yield _completion(body)


_SHARED = frozenset({"id", "name", "traceId", "trace_id", "environment", "userId"})
SCORES = RecordShape(
    "langfuse-scores",
    "scores of Langfuse",
    _is_score,
    _score,
    _SHARED
    | {
        "observationId",
        "observation_id",
        "value",
        "stringValue",
        "dataType",
        "data_type",
        "comment",
        "source",
        "trace",
        "timestamp",
        "createdAt",
        "updatedAt",
        "authorUserId",
    },
)
TRACES = RecordShape(
    "langfuse-traces",
    "traces and observations of Langfuse",
    _is_trace,
    _trace,
    _SHARED | {"type", "input", "output", "model", "modelParameters", "sessionId", "scores"},
)
INGESTION = RecordShape(
    "langfuse-ingestion",
    "events of Langfuse's ingestion",
    _is_ingested,
    _ingested,
    frozenset({"id", "type", "timestamp", "body"}),
)
