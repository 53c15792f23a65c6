"""OpenAI's files: preference pairs, stored completions, and chats whose answers have weights. Pure."""

from collections.abc import Iterator
from typing import Any

from app.feedback.importing.drafts import Body, CompletionDraft, Draft, EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules, shown
from app.feedback.importing.shapes.rows import ABOUT, about
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import (
    answer_of,
    body_of,
    messages_of,
    preference_of,
    prompt_of,
    require_nothing_lost,
    require_row_complete,
    texts_of,
    with_tools,
)
from app.feedback.importing.traced_texts import traced_answer, traced_prompt
from app.feedback.importing.values import as_text, required_id

#: Keys of a completion's metadata under which products keep what the user thought of it.
_FEEDBACK = ("feedback", "thumb", "thumbs", "vote", "rating", "user_feedback", "label")
_SAMPLING = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty")


def _is_pair(row: Row) -> bool:
    return {"input", "preferred_output"} <= row.keys() or {"input", "non_preferred_output"} <= row.keys()


def _pair(row: Row, rules: Rules) -> Iterator[Draft]:  # noqa: ARG001
    given = row["input"]
    if not isinstance(given, dict):
        raise Faulty("input must be an object with messages")
    require_row_complete(given)
    prompt = prompt_of(given, "messages")
    yield EventDraft(
        {**preference_of(prompt, row.get("preferred_output"), row.get("non_preferred_output")), **about(row)}
    )


def _is_stored(row: Row) -> bool:
    return isinstance(row.get("choices"), list) and (row.get("object") == "chat.completion" or "model" in row)


def _stored(row: Row, rules: Rules) -> Iterator[Draft]:
    completion_id = required_id(row.get("id"), "id")
    given = row.get("input", row.get("messages"))
    if given is None:
        raise Faulty("input is missing: write the messages of the request beside the completion, as `input`")
    require_row_complete(row)
    if len(row["choices"]) != 1:
        raise Faulty(f"has {len(row['choices'])} choices: write one completion per row")
    metadata: dict[str, Any] = row["metadata"] if isinstance(row.get("metadata"), dict) else {}
    body: Body = {
        **texts_of(with_tools(traced_prompt(given), row), traced_answer(row, "the choice")),
        "metadata": {"source": "OpenAI", **({"model": row["model"]} if isinstance(row.get("model"), str) else {})},
    }
    sampling = {name: row[name] for name in _SAMPLING if row.get(name) is not None}
    yield CompletionDraft(completion_id, body | ({"sampling": sampling} if sampling else {}))
    name = next((name for name in _FEEDBACK if metadata.get(name) not in (None, "")), None)
    if name is None:
        yield SaysNothing("the metadata of the completion has no feedback: the completion alone is registered")
        return
    event: Body = {
        "event_id": f"{completion_id}/{name}"[-128:],
        "completion_id": completion_id,
        "signal": (rules.rating if name == "rating" else rules.thumbs)(metadata[name], name),
        "origin": "import",
        "metadata": {"source": "OpenAI"},
    }
    if metadata.get("user_id") is not None:
        event["actor"] = as_text(metadata["user_id"], "user_id")
    comment = metadata.get("comment")
    yield EventDraft(event, comment if isinstance(comment, str) else None)


def _is_weighted(row: Row) -> bool:
    messages = row.get("messages")
    return isinstance(messages, list) and any(isinstance(message, dict) and "weight" in message for message in messages)


def _weighted(row: Row, rules: Rules) -> Iterator[Draft]:
    require_row_complete(row)
    messages = row["messages"]
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("weight") is None:
            continue
        require_nothing_lost(message, f"message {number}")
        before = [_unweighted(turn) for turn in messages[:number]]
        weight = message["weight"]
        if rules.have_words:
            signal = rules.thumbs(weight, "weight")
        elif weight == 1 and not isinstance(weight, bool):
            signal = {"kind": "thumbs", "value": "up"}
        elif weight == 0 and not isinstance(weight, bool):
            yield SaysNothing(
                "weight 0 leaves an answer out of training and does not judge it: if it means bad in your file, "
                "say --undesirable 0"
            )
            continue
        else:
            yield Faulty(f"weight is {shown(weight)}: must be 0 or 1")
            continue
        if not before:
            yield Faulty(f"message {number} has a weight and no prompt before it")
            continue
        answer = answer_of([_unweighted(message)], f"message {number}")
        yield EventDraft({**body_of(with_tools(messages_of(before), row), answer, signal), **about(row)})


def _unweighted(turn: Any) -> Any:
    return {name: value for name, value in turn.items() if name != "weight"} if isinstance(turn, dict) else turn


PAIRS = RecordShape(
    "openai-preference",
    "OpenAI's preference pairs",
    _is_pair,
    _pair,
    (ABOUT - {"tools"}) | {"input", "preferred_output", "non_preferred_output"},
)
STORED = RecordShape(
    "openai-completions",
    "OpenAI's stored completions, with their input",
    _is_stored,
    _stored,
    frozenset({"id", "object", "choices", "model", "metadata", "input", "messages", "tools", *_SAMPLING}),
)
WEIGHTED = RecordShape(
    "openai-weighted", "OpenAI's chats with a weight for each answer", _is_weighted, _weighted, ABOUT | {"messages"}
)
