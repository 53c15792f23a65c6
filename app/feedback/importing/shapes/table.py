"""Tables with a column each for prompt, answer and judgement, under their usual names or those of `--map`. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.feedback.importing.drafts import Body, Draft, EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import DOWN, UP, Rules, number_of, word_of
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import (
    answer_of,
    body_of,
    messages_of,
    preference_of,
    require_row_complete,
    text_of,
    with_system,
    with_tools,
)
from app.feedback.importing.traced_texts import traced_answer, traced_prompt
from app.feedback.importing.values import as_text, time_of

#: The usual names of the columns that hold a field.
NAMES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "question", "query", "input", "user_message", "request"),
    "system": ("system", "system_prompt"),
    "tools": ("tools",),
    "completion": ("completion", "response", "answer", "output", "reply", "assistant_message", "generation"),
    "chosen": ("chosen", "preferred"),
    "rejected": ("rejected", "non_preferred"),
    "label": ("label", "feedback", "thumb", "thumbs", "vote", "liked", "is_good"),
    "rating": ("rating", "stars", "star_rating"),
    "edit": ("edit", "edited", "edited_response", "correction", "corrected"),
    "comment": ("comment", "remark", "feedback_text", "feedback_comment"),
    "completion_id": ("completion_id", "message_id", "response_id"),
    "event_id": ("event_id", "feedback_id", "id"),
    "conversation_id": ("conversation_id", "chat_id", "session_id", "thread_id"),
    "actor": ("user_id", "actor", "user"),
    "timestamp": ("timestamp", "created_at", "occurred_at", "date", "time"),
    "source": ("source",),
    "licence": ("licence", "license"),
    "model": ("model", "model_id"),
}
JUDGEMENTS = ("label", "rating", "edit", "comment")


def shape_with(columns: Mapping[str, str]) -> RecordShape:
    """Returns the shape of tables; `columns` names the column of a field where it has another name than usual.

    With `columns`, every record is taken for a row of such a table.
    """
    names = {field: (columns[field],) if field in columns else usual for field, usual in NAMES.items()}
    # A column that is mapped does not also fill another field under its usual name.
    taken = frozenset(columns.values())
    names = {
        field: usual if field in columns else tuple(name for name in usual if name not in taken)
        for field, usual in names.items()
    }

    def recognises(row: Row) -> bool:
        if columns:
            return True
        has = {field for field in ("prompt", "completion", *JUDGEMENTS) if any(name in row for name in names[field])}
        return {"prompt", "completion"} <= has and bool(has & {*JUDGEMENTS})

    def drafts(row: Row, rules: Rules) -> Iterator[Draft]:
        yield from _drafts({field: _value(row, usual) for field, usual in names.items()}, row, rules)

    fields = frozenset(name.split(".")[0] for usual in names.values() for name in usual)
    title = "rows with columns for prompt, answer and judgement"
    return RecordShape("table", title, recognises, drafts, fields, textual=True)


def _value(row: Row, names: tuple[str, ...]) -> Any:
    """Returns the value of the first column that is not empty; a name with dots is a path into objects."""
    for name in names:
        value: Any = row.get(name)
        if value is None and "." in name:
            value = row
            for part in name.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
        if value not in (None, ""):
            return value
    return None


def _drafts(field: Body, row: Row, rules: Rules) -> Iterator[Draft]:
    require_row_complete(row)
    about = _about(field)
    remark = field["comment"]
    comment = None if remark is None else str(remark)
    if field["chosen"] is not None or field["rejected"] is not None:
        yield EventDraft({**preference_of(_prompt(field), field["chosen"], field["rejected"]), **about}, comment)
        return
    signals = list(_signals(field, rules))
    if not signals and comment is None:
        raise SaysNothing("the row has no judgement")
    if not signals:
        signals, comment = [{"kind": "comment", "text": comment}], None
    texts = _texts(field)
    for signal in signals:
        changed = signal
        if signal["kind"] == "edit" and signal["text"] == texts.get("completion"):
            changed = {"kind": "accept"}
        yield EventDraft({**texts, "signal": changed, **about}, comment)
        comment = None
        # The row's id is that of its first event; the ids of the others are derived from it.
        about = {name: value for name, value in about.items() if name != "event_id"}


def _signals(field: Body, rules: Rules) -> Iterator[Body]:
    if field["label"] is not None:
        yield rules.thumbs(field["label"], "label")
    if field["rating"] is not None:
        is_word = number_of(field["rating"]) is None and (rules.have_words or word_of(field["rating"]) in UP | DOWN)
        yield (rules.thumbs if is_word else rules.rating)(field["rating"], "rating")
    if field["edit"] is not None:
        yield {"kind": "edit", "text": text_of(field["edit"], "edit")}


def _texts(field: Body) -> Body:
    """Returns the completion's id with its texts; the id alone if the table has neither prompt nor answer."""
    own_id = None if field["completion_id"] is None else as_text(field["completion_id"], "completion_id")
    if own_id is not None and field["prompt"] is None and field["completion"] is None:
        return {"completion_id": own_id}
    answer = field["completion"]
    read = traced_answer(answer, "completion") if isinstance(answer, dict) else answer_of(answer, "completion")
    body = body_of(_prompt(field), read, {})
    return body | ({} if own_id is None else {"completion_id": own_id})


def _prompt(field: Body) -> Any:
    prompt = field["prompt"]
    if prompt is None:
        raise Faulty("prompt is missing")
    if isinstance(prompt, list) and all(isinstance(turn, dict) and "role" in turn for turn in prompt):
        read: Any = messages_of(prompt)
    else:
        read = prompt if isinstance(prompt, str) else traced_prompt(prompt, "prompt")
    return with_tools(with_system(field["system"], read), field)


def _about(field: Body) -> Body:
    body: Body = {
        "origin": "import",
        "metadata": {name: field[name] for name in ("source", "licence", "model") if field[name] is not None},
    }
    if field["timestamp"] is not None:
        body["occurred_at"] = time_of(field["timestamp"])
    for name in ("event_id", "conversation_id", "actor"):
        if field[name] is not None:
            body[name] = as_text(field[name], name)
    return body


SHAPE = shape_with({})
