"""Bodies of events for the API, and events that `GET /v1/feedback` lists. Pure."""

from collections.abc import Iterator
from typing import Any

from app.feedback.importing.drafts import Body, EventDraft, Faulty, Row
from app.feedback.importing.judgements import Rules, shown
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.values import as_text

_IDS = ("completion_id", "actor", "event_id", "supersedes", "conversation_id")


def _recognises(row: Row) -> bool:
    return isinstance(row.get("signal"), dict) and "completion_id" in row


def _drafts(row: Row, rules: Rules) -> Iterator[EventDraft]:  # noqa: ARG001 - signals say themselves what they mean
    extra = ("position", "received_at", "comment")
    body: Body = {name: value for name, value in row.items() if name not in extra and value is not None}
    if "received_at" not in row:
        body.setdefault("origin", "import")
    elif row.get("occurred_at") == row["received_at"]:
        body.pop("occurred_at", None)  # The listing fills it in from the receipt where none was sent.
    body |= {name: as_text(body[name], name) for name in _IDS if name in body}
    yield EventDraft(body, comment_of(row))


def comment_of(row: Row) -> str | None:
    """Returns the remark beside a judgement. Raises `Faulty` if it is not a text."""
    comment: Any = row.get("comment")
    if comment is None or isinstance(comment, str):
        return comment
    raise Faulty(f"comment is {shown(comment)}: must be a text")


class _AllFields(frozenset[str]):
    """Every field is kept, or named as a fault by the API's own check."""

    def __contains__(self, name: object) -> bool:
        return True


SHAPE = RecordShape("thumbwheel", "bodies of POST /v1/feedback, or listed events", _recognises, _drafts, _AllFields())
