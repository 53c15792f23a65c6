"""Phoenix: annotations of spans, and spans with their input and output. Pure."""

from collections.abc import Iterator

from app.feedback.importing.drafts import Body, CompletionDraft, Draft, EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules, shown
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import texts_of
from app.feedback.importing.traced_texts import traced_answer, traced_prompt
from app.feedback.importing.values import as_text, object_of, required_id, time_of


def _is_annotation(row: Row) -> bool:
    return "annotator_kind" in row and "span_id" in row


def _annotation(row: Row, rules: Rules) -> Iterator[Draft]:
    name = row.get("name")
    if not isinstance(name, str) or not name:
        raise Faulty("the annotation has no name")
    if row["annotator_kind"] != "HUMAN":
        raise SaysNothing(f"the annotation {name} is by {shown(row['annotator_kind'])}, not by a person")
    result = object_of(row.get("result"))
    label, score, explanation = result.get("label"), result.get("score"), result.get("explanation")
    body: Body = {
        "completion_id": required_id(row["span_id"], "span_id"),
        "origin": "import",
        "metadata": {"source": "Phoenix", "annotation": name},
    }
    if row.get("id") is not None:
        body["event_id"] = as_text(row["id"], "id")
    moment = row.get("updated_at") or row.get("created_at")
    if moment:
        body["occurred_at"] = time_of(moment)
    facts = object_of(row.get("metadata"))
    actor = next((facts[key] for key in ("user", "user_id") if facts.get(key)), row.get("user_id"))
    if actor is not None:
        body["actor"] = as_text(actor, "user")
    comment = explanation if isinstance(explanation, str) and explanation.strip() else None
    if score is not None or label:
        signal = rules.score(name, label if score is None else score, label if isinstance(label, str) else None)
    elif comment is not None:
        signal, comment = {"kind": "comment", "text": comment}, None
    else:
        raise SaysNothing(f"the annotation {name} has neither a label nor a score or an explanation")
    yield EventDraft({**body, "signal": signal}, comment)


def _is_span(row: Row) -> bool:
    return "span_kind" in row and isinstance(row.get("context"), dict) and isinstance(row.get("attributes"), dict)


def _span(row: Row, rules: Rules) -> Iterator[Draft]:  # noqa: ARG001
    if row["span_kind"] not in ("LLM", "CHAIN", "AGENT"):
        raise SaysNothing(f"a span of kind {shown(row['span_kind'])} is no answer of a model")
    attributes = row["attributes"]
    given, answer = (
        attributes.get(f"{side}.value", object_of(attributes.get(side)).get("value")) for side in ("input", "output")
    )
    if answer in (None, ""):
        raise SaysNothing("a span without an output holds no answer")
    body: Body = {
        **texts_of(traced_prompt(given), traced_answer(answer)),
        "metadata": {"source": "Phoenix"},
    }
    session = attributes.get("session.id", object_of(attributes.get("session")).get("id"))
    if session:
        body["conversation_id"] = as_text(session, "session.id")
    yield CompletionDraft(required_id(row["context"].get("span_id"), "context.span_id"), body)


ANNOTATIONS = RecordShape(
    "phoenix-annotations",
    "annotations of Phoenix",
    _is_annotation,
    _annotation,
    frozenset({"id", "span_id", "name", "annotator_kind", "result", "metadata", "created_at", "updated_at", "user_id"}),
)
SPANS = RecordShape(
    "phoenix-spans",
    "spans of Phoenix",
    _is_span,
    _span,
    frozenset({"id", "name", "context", "span_kind", "attributes"}),
)
