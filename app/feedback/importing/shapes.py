"""Converts a decoded line to the body of an event, or gives the reason why it has none. Pure.

Shapes: rows of events with a `kind` (preference, rating, edit, implicit, flag), and the rows that TRL's trainers read:
prompt, completion and label, or prompt, chosen and rejected; each text a string or chat messages. A row's `tools`, a
list of JSON schemas or its JSON text, become a part of the prompt.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from thumbwheel.row_checks import lost_in_row

from app.feedback.importing.prompts_and_answers import (
    Faulty,
    Row,
    answer_of,
    is_visible,
    messages_of,
    prompt_of,
    text_of,
    with_tools,
)
from app.feedback.importing.recognition import origin_of

Body = dict[str, Any]

#: The signal of an observed act. An act that did not happen is no signal: people read without copying.
_ACTS = {
    "copied": "copy", "copy": "copy", "accepted": "accept", "accept": "accept",
    "rejected": "reject", "reject": "reject", "regenerated": "regenerate", "regenerate": "regenerate",
}  # fmt: skip


#: The fields of rows that become a part of an event.
FIELDS = frozenset(
    {
        "id", "event_id", "user_id", "timestamp", "source", "licence", "model", "never_train", "comment", "kind",
        "prompt", "completion", "label", "chosen", "rejected", "completions", "preferred", "rating", "rating_min",
        "rating_max", "edit", "signal", "tools",
    }
)  # fmt: skip


class SaysNothing(Exception):
    """A valid row that judges the completion neither good nor bad."""


def body_of(row: Any) -> Body:
    """Returns the event's body without `event_id`, and without `actor` if the row has none.

    Raises `Faulty`, `SaysNothing`.
    """
    if not isinstance(row, dict):
        raise Faulty("is not a JSON object")
    if "signal" in row and "completion_id" in row and isinstance(row["signal"], dict):
        return _event(row)
    shape = _shape(row)
    if (fault := lost_in_row(row)) is not None:
        raise Faulty(fault.sentence)
    return {**shape(row), **_about(row)}


def ignored_fields(row: Row) -> tuple[str, ...]:
    """Returns the fields of a row that its event drops; none for a body of an event, whose extra fields are faults."""
    return () if isinstance(row.get("signal"), dict) else tuple(name for name in row if name not in FIELDS)


def rows_of(document: Any) -> list[Any]:
    """Returns the rows of one line: those of a batch's body or of a page of the listing, else the line itself."""
    if isinstance(document, dict) and "signal" not in document:
        for name in ("events", "items"):
            if isinstance(document.get(name), list) and document.keys() <= {name, "next_cursor"}:
                return list(document[name])
    return [document]


def comment_of(row: Row) -> Body | None:
    """Returns the signal of a comment on a row that also has a judgement or a signal; None if there is no comment."""
    comment = row.get("comment")
    if comment is None or not row.keys() & {"kind", "label", "chosen", "signal"}:
        return None
    if not isinstance(comment, str):
        raise Faulty(f"comment is {json.dumps(comment)[:60]}: must be a text")
    return {"kind": "comment", "text": comment} if comment.strip() else None


def as_text(identity: Any, name: str) -> Any:
    """Returns an id that is an integer as text. Raises `Faulty` for booleans and fractions."""
    if isinstance(identity, bool | float):
        raise Faulty(f"{name} is {json.dumps(identity)}: must be a text or an integer")
    return str(identity) if isinstance(identity, int) else identity


def _event(row: Row) -> Body:
    """Returns the body of a row that is an event for the API, or one listed by `GET /v1/feedback`."""
    extra = ("position", "received_at", "comment")
    body = {name: value for name, value in row.items() if name not in extra and value is not None}
    if "received_at" not in row:
        body.setdefault("origin", "import")
    elif row.get("occurred_at") == row["received_at"]:
        body.pop("occurred_at", None)  # The listing fills it in from the receipt where none was sent.
    ids = ("completion_id", "actor", "event_id", "supersedes", "conversation_id")
    return {**body, **{name: as_text(body[name], name) for name in ids if name in body}}


def completion_id_of(prompt: Any, answer: Any) -> str:
    """Derives a completion id, which rows lack: votes on the same answer to the same prompt share one completion."""
    key = json.dumps([prompt, answer], sort_keys=True, separators=(",", ":"))
    return "imported-" + hashlib.sha256(key.encode()).hexdigest()[:32]


def _shape(row: Row) -> Callable[[Row], Body]:
    kind = row.get("kind")
    if kind is not None:
        if not isinstance(kind, str) or kind not in _KINDS:
            raise Faulty(f"kind is {kind!r}: must be one of {', '.join(_KINDS)}")
        return _KINDS[kind]
    if "chosen" in row or "rejected" in row:
        return _pair
    if "label" in row and "completion" in row:
        return _labelled
    origin = origin_of(row)
    raise Faulty(
        f"has no known shape: {f'it looks like {origin}; ' if origin else ''}"
        "needs prompt, completion and label; or prompt, chosen and rejected; or a kind with its fields"
    )


def _preference(row: Row) -> Body:
    completions, preferred = row.get("completions"), row.get("preferred")
    if not isinstance(completions, list) or len(completions) != 2:
        raise Faulty("completions must be a list of two answers")
    if preferred is None:
        return _preferred(prompt_of(row), completions[0], completions[1], tie=True)
    if preferred not in (0, 1) or isinstance(preferred, bool | float):
        raise Faulty(f"preferred is {preferred!r}: must be 0, 1 or null")
    return _preferred(prompt_of(row), completions[preferred], completions[1 - preferred])


def _pair(row: Row) -> Body:
    for name in ("chosen", "rejected"):
        if name not in row:
            raise Faulty(f"{name} is missing")
    chosen, rejected = row["chosen"], row["rejected"]
    if "prompt" in row:
        return _preferred(prompt_of(row), chosen, rejected)
    if not isinstance(chosen, list) or not isinstance(rejected, list):
        raise Faulty("prompt is missing")
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    if shared == 0:
        raise Faulty("prompt is missing, and chosen and rejected share no first message")
    return _preferred(with_tools(messages_of(chosen[:shared]), row), chosen[shared:], rejected[shared:])


def _preferred(prompt: Any, chosen: Any, rejected: Any, *, tie: bool = False) -> Body:
    """Returns the body of a preference; an empty rejected answer, which cannot be trained on, is left out."""
    if tie and not is_visible(text_of(chosen, "the first answer", empty=True)):
        chosen, rejected = rejected, chosen
    better, worse = answer_of(chosen, "the preferred answer"), text_of(rejected, "the other answer", empty=True)
    if better == worse:
        raise SaysNothing("both answers are the same text")
    signal: Body = {"kind": "preference", "rejected_completion_id": completion_id_of(prompt, worse)}
    if is_visible(worse):
        signal["rejected"] = worse
    if tie:
        signal["tie"] = True
    return _body(prompt, better, signal)


def _rating(row: Row) -> Body:
    scale = {"minimum": row.get("rating_min", 1), "maximum": row.get("rating_max", 5)}
    if isinstance(row.get("rating"), bool | str):
        raise Faulty(f"rating is {row['rating']!r}: must be a number")
    return _body_of_row(row, {"kind": "rating", "value": row.get("rating"), **scale})


def _edit(row: Row) -> Body:
    edited = text_of(row.get("edit"), "edit")
    if edited == text_of(row.get("completion"), "completion"):
        return _body_of_row(row, {"kind": "accept"})
    return _body_of_row(row, {"kind": "edit", "text": edited})


def _implicit(row: Row) -> Body:
    act = row.get("signal")
    if not isinstance(act, str) or act not in _ACTS:
        raise Faulty(f"signal is {act!r}: must be one of {', '.join(_ACTS)}")
    if not _label(row):
        raise SaysNothing(f"not {act}: an act that did not happen is no signal")
    return _body_of_row(row, {"kind": _ACTS[act]})


def _labelled(row: Row) -> Body:
    """Returns the body of a person's judgement, also of an annotator who flags how a request was handled."""
    return _body_of_row(row, {"kind": "thumbs", "value": "up" if _label(row) else "down"})


_KINDS: Mapping[str, Callable[[Row], Body]] = {
    "preference": _preference,
    "rating": _rating,
    "edit": _edit,
    "implicit": _implicit,
    "flag": _labelled,
}


def _body_of_row(row: Row, signal: Body) -> Body:
    return _body(prompt_of(row), answer_of(row.get("completion"), "completion"), signal)


def _body(prompt: Any, completion: Any, signal: Body) -> Body:
    return {
        "completion_id": completion_id_of(prompt, completion),
        "prompt": prompt,
        "completion": completion,
        "signal": signal,
    }


def _about(row: Row) -> Body:
    about: Body = {
        "origin": "import",
        "metadata": {name: row[name] for name in ("source", "licence", "model") if row.get(name) is not None},
    }
    if row.get("timestamp") is not None:
        about["occurred_at"] = row["timestamp"]
    if row.get("never_train") is not None:
        about["never_train"] = row["never_train"]
    if row.get("conversation_id") is not None:
        about["conversation_id"] = as_text(row["conversation_id"], "conversation_id")
    if row.get("user_id") is not None:
        about["actor"] = as_text(row["user_id"], "user_id")
    return about


def _label(row: Row) -> bool:
    label = row.get("label")
    if not isinstance(label, bool):
        raise Faulty(f"label is {json.dumps(label)}: must be true or false")
    return label
