"""Lunary: exported runs, which become registered completions, and the thumbs on them. Pure."""

import json
from collections.abc import Iterator
from typing import Any

from app.feedback.importing.drafts import Body, CompletionDraft, Draft, EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules, shown
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import texts_of
from app.feedback.importing.traced_texts import traced_answer, traced_prompt
from app.feedback.importing.values import as_text, object_of, required_id, time_of

_ANSWERING = ("llm", "chain", "agent")
_WITHHELD = "__NOT_INGESTED__"
#: Fields of messages in the words that Lunary writes, which are those of the API in another case.
_CASES = {"toolCalls": "tool_calls", "toolCallId": "tool_call_id", "functionCall": "function_call"}
_SAMPLING = {"temperature": "temperature", "topP": "top_p", "seed": "seed"}


def _recognises(row: Row) -> bool:
    return {"projectId", "isPublic", "feedback", "input", "output", "type"} <= row.keys()


def _drafts(row: Row, rules: Rules) -> Iterator[Draft]:
    if row["type"] not in _ANSWERING:
        raise SaysNothing(f"a run of type {shown(row['type'])} is no answer of a model")
    given, answered = _decoded(row.get("input")), _decoded(row.get("output"))
    if row.get("error") or answered in (None, "", {}, []):
        raise SaysNothing("a run that failed, or has no output, holds no answer")
    if _WITHHELD in (given, answered):
        raise SaysNothing("Lunary was told not to keep the texts of the run")
    about = required_id(row.get("id"), "id")
    parameters = object_of(row.get("params"))
    prompt = traced_prompt({"messages": _cased(given), "tools": parameters.get("tools")})
    body: Body = {
        **texts_of(prompt, traced_answer(_cased(answered))),
        "metadata": {"source": "Lunary", **({"model": row["name"]} if isinstance(row.get("name"), str) else {})},
    }
    sampling = {name: parameters[given] for given, name in _SAMPLING.items() if parameters.get(given) is not None}
    yield CompletionDraft(about, body | ({"sampling": sampling} if sampling else {}))
    yield _feedback(row, about, rules)


def _feedback(row: Row, about: str, rules: Rules) -> Draft:
    feedback, user = object_of(row.get("feedback")), object_of(row.get("user"))
    thumb, comment = feedback.get("thumb", feedback.get("thumbs")), feedback.get("comment")
    comment = comment if isinstance(comment, str) and comment.strip() else None
    if thumb is not None:
        try:
            signal = rules.thumbs(thumb, "thumb")
        except (Faulty, SaysNothing) as fault:
            return fault
    elif comment is not None:
        signal, comment = {"kind": "comment", "text": comment}, None
    else:
        return SaysNothing("nobody rated the run: the completion alone is registered")
    actor = user.get("externalId", user.get("id"))
    event: Body = {
        "event_id": f"lunary-{about}/feedback"[:128],
        "completion_id": about,
        "signal": signal,
        "origin": "import",
        "metadata": {"source": "Lunary"},
        **({"actor": as_text(actor, "user.externalId")} if actor is not None else {}),
    }
    # Lunary keeps no time of the vote.
    if row.get("endedAt") or row.get("createdAt"):
        event["occurred_at"] = time_of(row.get("endedAt") or row["createdAt"])
    return EventDraft(event, comment)


def _decoded(value: Any) -> Any:
    """Returns messages, which the CSV holds as JSON."""
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _cased(value: Any) -> Any:
    """Returns messages with the API's names of fields."""
    if isinstance(value, list):
        return [_cased(item) for item in value]
    if isinstance(value, dict) and "role" in value:
        return {_CASES.get(name, name): item for name, item in value.items() if name != "enrichments"}
    return value


SHAPE = RecordShape(
    "lunary",
    "runs exported from Lunary",
    _recognises,
    _drafts,
    frozenset({"id", "type", "name", "input", "output", "error", "params", "feedback", "user", "createdAt", "endedAt"}),
    textual=True,
)
