"""Tickets with a satisfaction rating, as Zendesk and similar desks export them, and Zendesk's ratings. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from app.feedback.importing.drafts import Body, Draft, EventDraft, Row, SaysNothing
from app.feedback.importing.judgements import Rules
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import text_of
from app.feedback.importing.values import required_id, time_of

_NAMES: Mapping[str, tuple[str, ...]] = {
    "id": ("ticket_id", "id", "ticket"),
    "score": ("satisfaction_score", "satisfaction_rating", "satisfaction", "ticket_satisfaction_rating", "csat"),
    "comment": ("satisfaction_comment", "satisfaction_rating_comment", "csat_comment"),
    "subject": ("subject", "ticket_subject"),
    "question": ("description", "ticket_description", "first_message", "question"),
    "answer": ("ai_reply", "agent_reply", "first_reply", "reply", "answer", "response", "last_public_reply"),
    "actor": ("requester_id", "requester", "requester_email"),
    "time": ("satisfaction_updated_at", "updated_at", "updated", "solved_at"),
}
#: The words of desks for a rating that nobody gave.
_UNRATED = frozenset({"offered", "unoffered", "not_offered", "unrated", "not_rated", "-"})


def _columns(row: Row) -> dict[str, Any]:
    return {_plain(name): value for name, value in row.items()}


def _plain(name: object) -> str:
    return re.sub(r"\W+", "_", str(name).strip().lower()).strip("_")


def _recognises(row: Row) -> bool:
    columns = _columns(row).keys()
    return bool(columns & {*_NAMES["score"]}) and bool(columns & {*_NAMES["id"]})


def _drafts(row: Row, rules: Rules) -> Iterator[Draft]:
    columns = _columns(row)
    field = {
        name: next((columns[usual] for usual in names if columns.get(usual) not in (None, "")), None)
        for name, names in _NAMES.items()
    }
    score = field["score"]
    word = re.sub(r"[\s-]+", "_", str(score).strip().lower())
    comment = field["comment"] if isinstance(field["comment"], str) else None
    if score is None or word in _UNRATED:
        raise SaysNothing("nobody rated the ticket")
    for verdict in ("good", "bad"):  # also "Good with comment"
        score = verdict if word.startswith(f"{verdict}_with") and not rules.have_words else score
    ticket = required_id(field["id"], "the ticket's id")
    body: Body = {
        "event_id": f"ticket-{ticket}/satisfaction"[:128],
        "completion_id": ticket,
        "signal": rules.score("satisfaction", score, score if isinstance(score, str) else None),
        "origin": "import",
        "metadata": {"source": "Zendesk"},
        **({"actor": str(field["actor"])} if field["actor"] is not None else {}),
        **({"occurred_at": time_of(field["time"])} if field["time"] is not None else {}),
    }
    if field["question"] is not None and field["answer"] is not None:
        parts = [str(field[name]) for name in ("subject", "question") if field[name] is not None]
        body |= {"prompt": "\n\n".join(parts), "completion": text_of(field["answer"], "the answer")}
    yield EventDraft(body, comment)


def _is_rating(row: Row) -> bool:
    return {"ticket_id", "requester_id", "score", "assignee_id"} <= row.keys()


def _rating(row: Row, rules: Rules) -> Iterator[Draft]:
    if str(row["score"]).lower() in _UNRATED:
        raise SaysNothing("nobody rated the ticket")
    moment = row.get("updated_at") or row.get("created_at")
    comment = row.get("comment")
    yield EventDraft(
        {
            "event_id": f"satisfaction-{required_id(row.get('id'), 'id')}"[:128],
            "completion_id": required_id(row["ticket_id"], "ticket_id"),
            "signal": rules.thumbs(row["score"], "score"),
            "actor": required_id(row["requester_id"], "requester_id"),
            "origin": "import",
            "metadata": {"source": "Zendesk"},
            **({"occurred_at": time_of(moment)} if moment else {}),
        },
        comment if isinstance(comment, str) else None,
    )


class _Columns(frozenset[str]):
    """Names of columns, in whatever way they are capitalised and spaced."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(_plain(name))


SHAPE = RecordShape(
    "zendesk",
    "tickets with a satisfaction rating",
    _recognises,
    _drafts,
    _Columns(name for names in _NAMES.values() for name in names),
    textual=True,
)
RATINGS = RecordShape(
    "zendesk-ratings",
    "satisfaction ratings of Zendesk",
    _is_rating,
    _rating,
    frozenset({"id", "ticket_id", "requester_id", "score", "comment", "created_at", "updated_at"}),
)
