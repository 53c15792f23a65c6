"""Rows that say with `kind` what a person did: preference, rating, edit, implicit, flag. Pure.

`about` gives the fields that these rows share with those of trainers.
"""

from collections.abc import Callable, Iterator, Mapping

from app.feedback.importing.drafts import Body, EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules, shown
from app.feedback.importing.shapes.events import comment_of
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import answer_of, body_of, preference_of, prompt_of, require_row_complete, text_of
from app.feedback.importing.values import as_text, time_of

#: The signal of an observed act. An act that did not happen is no signal: people read without copying.
_ACTS = {
    "copied": "copy", "copy": "copy", "accepted": "accept", "accept": "accept",
    "rejected": "reject", "reject": "reject", "regenerated": "regenerate", "regenerate": "regenerate",
}  # fmt: skip

#: The fields that `about` and the ids read.
ABOUT = frozenset(
    {
        "id", "event_id", "completion_id", "conversation_id", "user_id", "timestamp", "source", "licence", "model",
        "never_train", "comment", "tools",
    }
)  # fmt: skip
_FIELDS = ABOUT | {
    "kind", "prompt", "completion", "label", "completions", "preferred", "rating", "rating_min", "rating_max", "edit",
    "signal", "system",
}  # fmt: skip
ID_LENGTH = 128


def about(row: Row) -> Body:
    """Returns what a row says about its event beside texts and signal."""
    body: Body = {
        "origin": "import",
        "metadata": {name: row[name] for name in ("source", "licence", "model") if row.get(name) is not None},
    }
    own_id = as_text(row.get("event_id", row.get("id")), "id")
    if isinstance(own_id, str) and own_id and len(own_id) <= ID_LENGTH:
        body["event_id"] = own_id
    if row.get("timestamp") is not None:
        body["occurred_at"] = time_of(row["timestamp"])
    if row.get("never_train") is not None:
        body["never_train"] = row["never_train"]
    if row.get("completion_id") is not None and "completion" in row:
        body["completion_id"] = as_text(row["completion_id"], "completion_id")
    for name, field in (("conversation_id", "conversation_id"), ("actor", "user_id")):
        if row.get(field) is not None:
            body[name] = as_text(row[field], field)
    return body


def _recognises(row: Row) -> bool:
    return row.get("kind") is not None and not row.keys() & {"attributes", "spanId", "span_id"}  # spans have kinds, too


def _drafts(row: Row, rules: Rules) -> Iterator[EventDraft]:
    kind = row.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise Faulty(f"kind is {kind!r}: must be one of {', '.join(_KINDS)}")
    require_row_complete(row)
    yield EventDraft({**_KINDS[kind](row, rules), **about(row)}, comment_of(row))


def _preference(row: Row, rules: Rules) -> Body:  # noqa: ARG001
    completions, preferred = row.get("completions"), row.get("preferred")
    if not isinstance(completions, list) or len(completions) != 2:
        raise Faulty("completions must be a list of two answers")
    if preferred is None:
        return preference_of(prompt_of(row), completions[0], completions[1], tie=True)
    if preferred not in (0, 1) or isinstance(preferred, bool | float):
        raise Faulty(f"preferred is {preferred!r}: must be 0, 1 or null")
    return preference_of(prompt_of(row), completions[preferred], completions[1 - preferred])


def _rating(row: Row, rules: Rules) -> Body:  # noqa: ARG001 - the row has its own scale
    if isinstance(row.get("rating"), bool | str):
        raise Faulty(f"rating is {row['rating']!r}: must be a number")
    scale = {"minimum": row.get("rating_min", 1), "maximum": row.get("rating_max", 5)}
    return _body(row, {"kind": "rating", "value": row.get("rating"), **scale})


def _edit(row: Row, rules: Rules) -> Body:  # noqa: ARG001
    edited = text_of(row.get("edit"), "edit")
    if edited == answer_of(row.get("completion"), "completion"):
        return _body(row, {"kind": "accept"})
    return _body(row, {"kind": "edit", "text": edited})


def _implicit(row: Row, rules: Rules) -> Body:  # noqa: ARG001
    act = row.get("signal")
    if not isinstance(act, str) or act not in _ACTS:
        raise Faulty(f"signal is {act!r}: must be one of {', '.join(_ACTS)}")
    if not strict_label(row):
        raise SaysNothing(f"not {act}: an act that did not happen is no signal")
    return _body(row, {"kind": _ACTS[act]})


def labelled(row: Row, rules: Rules) -> Body:
    """Returns the body of a person's judgement, also of an annotator who flags how a request was handled."""
    return _body(row, label_signal(row, rules))


def label_signal(row: Row, rules: Rules, name: str = "label") -> Body:
    """Returns the thumb of a label: true or false, or one of the words that the user gave."""
    if rules.have_words:
        return rules.thumbs(row.get(name), name)
    return {"kind": "thumbs", "value": "up" if strict_label(row, name) else "down"}


def strict_label(row: Row, name: str = "label") -> bool:
    """Returns a label that is true or false. Raises `Faulty` for anything else: 1 and "true" are often mistakes."""
    label = row.get(name)
    if not isinstance(label, bool):
        raise Faulty(f"{name} is {shown(label)}: must be true or false")
    return label


def _body(row: Row, signal: Body) -> Body:
    return body_of(prompt_of(row, system=row.get("system")), answer_of(row.get("completion"), "completion"), signal)


_KINDS: Mapping[str, Callable[[Row, Rules], Body]] = {
    "preference": _preference,
    "rating": _rating,
    "edit": _edit,
    "implicit": _implicit,
    "flag": labelled,
}
SHAPE = RecordShape(
    "rows", "rows with a kind (preference, rating, edit, implicit, flag)", _recognises, _drafts, _FIELDS
)
