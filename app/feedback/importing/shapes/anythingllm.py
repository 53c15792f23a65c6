"""AnythingLLM: exported chats of workspaces, a row for each question with the rating of its answer. Pure."""

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from app.feedback.importing.drafts import Body, Draft, EventDraft, Row, SaysNothing
from app.feedback.importing.judgements import Rules
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import text_of
from app.feedback.importing.values import required_id, time_of

_UNRATED = "--"
#: What stands in place of a name.
_NOBODY = ("API", "unknown user")
#: JavaScript's text of a date, as the CSV has it: Tue Mar 10 2026 08:01:12 GMT+0000 (Coordinated Universal Time).
_SCRIPTED = re.compile(r"\w{3} (\w{3} \d{2} \d{4} \d{2}:\d{2}:\d{2} GMT[+-]\d{4})\b")


def _recognises(row: Row) -> bool:
    return {"id", "workspace", "prompt", "sent_at", "rating"} <= row.keys()


def _drafts(row: Row, rules: Rules) -> Iterator[Draft]:
    if row["rating"] in (None, "", _UNRATED):
        raise SaysNothing("nobody rated the answer")
    prompt, answer = text_of(row["prompt"], "prompt"), text_of(row.get("response") or "", "response")
    moment = _second(row["sent_at"])
    # Each installation numbers its chats from 1. The texts are left out: line breaks are missing from the CSV.
    digest = hashlib.sha256(f"{row['workspace']}\n{moment}".encode()).hexdigest()[:16]
    about = f"anythingllm-{required_id(row['id'], 'id')}-{digest}"
    body: Body = {
        "event_id": f"{about}/rating",
        "completion_id": about,
        "prompt": prompt,
        "completion": answer,
        "signal": rules.thumbs(row["rating"], "rating"),
        "origin": "import",
        "metadata": {"source": "AnythingLLM"},
        "occurred_at": moment,  # of the chat: the rating has none
    }
    if row.get("username") not in (None, "", *_NOBODY):
        body["actor"] = required_id(row["username"], "username")
    yield EventDraft(body)


def _second(value: Any) -> Any:
    """Returns the time of a chat to the second, which both CSV and JSON have."""
    scripted = _SCRIPTED.match(value) if isinstance(value, str) else None
    try:
        if scripted is not None:
            return datetime.strptime(scripted[1], "%b %d %Y %H:%M:%S GMT%z").astimezone(UTC).isoformat()
        return datetime.fromisoformat(time_of(value)).astimezone(UTC).replace(microsecond=0).isoformat()
    except (ValueError, TypeError):
        return value


SHAPE = RecordShape(
    "anythingllm",
    "chats exported from AnythingLLM",
    _recognises,
    _drafts,
    frozenset({"id", "workspace", "prompt", "response", "sent_at", "username", "rating"}),
    textual=True,
)
