"""Dify: exported feedback, each row with the question and the beginning of the answer. Pure."""

from collections.abc import Iterator

from app.feedback.importing.drafts import Body, Draft, EventDraft, Faulty, Row
from app.feedback.importing.judgements import Rules
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import text_of
from app.feedback.importing.values import required_id, time_of

#: Dify cuts longer answers and appends three dots.
CUT = 500
_FIELDS = frozenset(
    {
        "feedback_id", "conversation_id", "message_id", "user_query", "ai_response", "feedback_rating",
        "feedback_rating_raw", "feedback_comment", "feedback_date", "from_account_name", "from_end_user_id",
        "has_comment",
    }
)  # fmt: skip


def _recognises(row: Row) -> bool:
    return {"feedback_id", "feedback_rating_raw", "user_query", "message_id"} <= row.keys()


def _drafts(row: Row, rules: Rules) -> Iterator[Draft]:
    prompt = row.get("user_query")
    if not isinstance(prompt, str) or not prompt.strip():
        raise Faulty("user_query is empty: a text generator's inputs are not in the export")
    answer = text_of(row.get("ai_response") or "", "ai_response")
    if len(answer) == CUT + len("...") and answer.endswith("..."):
        raise Faulty(
            f"ai_response was cut after {CUT} characters by the export: send the vote with the whole answer, under the "
            "message_id, to POST /v1/feedback"
        )
    comment = row.get("feedback_comment")
    body: Body = {
        "event_id": required_id(row["feedback_id"], "feedback_id"),
        "completion_id": required_id(row["message_id"], "message_id"),
        "prompt": prompt,
        "completion": answer,
        "signal": rules.thumbs(row["feedback_rating_raw"], "feedback_rating_raw"),
        "origin": "import",
        "metadata": {"source": "Dify"},
    }
    if row.get("conversation_id"):
        body["conversation_id"] = required_id(row["conversation_id"], "conversation_id")
    if row.get("from_end_user_id"):
        body["actor"] = required_id(row["from_end_user_id"], "from_end_user_id")
    elif row.get("from_account_name"):
        body["actor"] = f"account-{row['from_account_name']}"[:128]
    if row.get("feedback_date"):
        body["occurred_at"] = time_of(row["feedback_date"])
    yield EventDraft(body, comment if isinstance(comment, str) else None)


SHAPE = RecordShape("dify", "feedback exported from Dify", _recognises, _drafts, _FIELDS, textual=True)
