"""Helicone: exported requests with their bodies, which become registered completions, and the thumbs on them. Pure."""

from collections.abc import Iterator
from typing import Any

from app.feedback.importing.drafts import Body, CompletionDraft, Draft, EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules, number_of
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import texts_of
from app.feedback.importing.traced_texts import traced_answer, traced_prompt
from app.feedback.importing.values import object_of, required_id, time_of

#: The score that is a user's thumb; others are of evaluations.
_THUMB = "helicone-score-feedback"
_SESSION = "Helicone-Session-Id"
_SAMPLING = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty")
_FAILED = 400  # the first status of a failed request


def _recognises(row: Row) -> bool:
    return {"request_id", "request_body", "response_body"} <= row.keys()


def _drafts(row: Row, rules: Rules) -> Iterator[Draft]:
    request, response = object_of(row["request_body"]), object_of(row["response_body"])
    status = number_of(row.get("response_status"))
    if (status is not None and status >= _FAILED) or (response.get("error") and not response.get("choices")):
        raise SaysNothing(f"the request failed with the status {row.get('response_status')}: it has no answer")
    if "helicone_message" in request or "helicone_message" in response or not (request and response):
        raise Faulty("the bodies of the request are missing: export with --include-body")
    if response.get("object") == "list":
        raise SaysNothing("a request for embeddings has no answer of a model")
    about = required_id(row["request_id"], "request_id")
    body: Body = {
        **texts_of(traced_prompt(request, "request_body"), traced_answer(response, "response_body")),
        "metadata": _metadata(row),
    }
    session = object_of(row.get("request_properties")).get(_SESSION)
    if isinstance(session, str) and session:
        body["conversation_id"] = session
    sampling = {name: request[name] for name in _SAMPLING if number_of(request.get(name)) is not None}
    yield CompletionDraft(about, body | ({"sampling": sampling} if sampling else {}))
    thumb = _thumb(row)
    if thumb is None:
        yield SaysNothing("nobody rated the request: the completion alone is registered")
        return
    event: Body = {
        "event_id": f"helicone-{about}/feedback"[:128],
        "completion_id": about,
        "signal": rules.thumbs(thumb, "the feedback"),
        "origin": "import",
        "metadata": {"source": "Helicone"},
    }
    if row.get("request_user_id"):
        event["actor"] = required_id(row["request_user_id"], "request_user_id")
    moment = row.get("feedback_created_at") or row.get("updated_at") or row.get("response_created_at")
    if moment:
        event["occurred_at"] = time_of(moment)
    yield EventDraft(event)


def _thumb(row: Row) -> Any:
    """Returns the thumb: a score of 0 or 1, also as text or in an object, or the older field for it."""
    score = object_of(row.get("scores")).get(_THUMB)
    if isinstance(score, dict):
        score = score.get("value")
    return score if score is not None else row.get("feedback_rating")


def _metadata(row: Row) -> Body:
    model = row.get("request_model") or row.get("response_model")
    return {"source": "Helicone", **({"model": model} if isinstance(model, str) else {})}


SHAPE = RecordShape(
    "helicone",
    "requests of Helicone",
    _recognises,
    _drafts,
    frozenset(
        {
            "request_id", "request_body", "response_body", "response_status", "request_user_id", "request_properties",
            "properties", "request_model", "response_model", "scores", "feedback_rating", "feedback_created_at",
            "updated_at", "response_created_at", "request_created_at",
        }
    ),
)  # fmt: skip
