"""open-webui: exported feedback, each with a snapshot of its chat, and exported chats with annotated answers. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from thumbwheel.row_checks import RowFault

from app.feedback.importing.drafts import Body, Draft, EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules, shown
from app.feedback.importing.shapes.open_webui_blocks import messages_in, without_blocks
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import answer_of, require_nothing_lost, texts_of
from app.feedback.importing.values import as_text, object_of, required_id, time_of

_MOST_TURNS = 1000


def _is_feedback(row: Row) -> bool:
    return "snapshot" in row and isinstance(row.get("data"), dict) and isinstance(row.get("meta"), dict)


def _feedback(row: Row, rules: Rules) -> Iterator[Draft]:
    chat = object_of(object_of(row.get("snapshot")).get("chat"))
    about = required_id(row["meta"].get("message_id"), "meta.message_id")
    facts = {
        "event_id": as_text(row.get("id"), "id"),
        "actor": as_text(row.get("user_id"), "user_id"),
        "occurred_at": time_of(row.get("updated_at") or row.get("created_at")),
        "conversation_id": as_text(row["meta"].get("chat_id") or chat.get("id"), "meta.chat_id"),
    }
    yield _event(object_of(chat.get("chat")), about, row["data"], facts, rules)


def _is_chat(row: Row) -> bool:
    return isinstance(object_of(object_of(row.get("chat")).get("history")).get("messages"), dict)


def _chat(row: Row, rules: Rules) -> Iterator[Draft]:
    chat = row["chat"]
    judged = [
        (str(about), message["annotation"])
        for about, message in chat["history"]["messages"].items()
        if isinstance(message, dict) and isinstance(message.get("annotation"), dict)
    ]
    if not judged:
        raise SaysNothing("no answer of the chat was rated")
    for about, annotation in judged:
        facts = {
            # The chat's time would change with every later turn.
            "event_id": f"open-webui-{about}"[:128],
            "actor": as_text(row.get("user_id"), "user_id"),
            "conversation_id": as_text(row.get("id"), "id"),
        }
        try:
            yield _event(chat, about, annotation, facts, rules)
        except (Faulty, SaysNothing) as fault:
            yield fault


def _event(chat: Row, about: str, judgement: Row, facts: Body, rules: Rules) -> EventDraft:
    rating = judgement.get("rating")
    remarks = [part for part in (judgement.get("reason"), judgement.get("comment")) if isinstance(part, str) and part]
    remark = ": ".join(remarks) or None
    unrated = rating in (None, 0, "")
    if unrated and remark is None:
        raise SaysNothing("the feedback has no rating")
    if not unrated and rating not in (1, -1, "1", "-1"):
        raise Faulty(f"rating is {shown(rating)}: must be 1 or -1")
    messages = object_of(object_of(chat.get("history")).get("messages"))
    if about not in messages:
        raise Faulty(f"the chat of the feedback does not hold the message {about}")
    turns = _turns_to(messages, about)
    *calls, last = _answer(turns[-1])
    answer = answer_of([last], "the answer")
    if len(turns) == 1:
        raise Faulty("the chat has no message before the answer")
    prompt = [*map(_message, turns[:-1]), *calls]
    system = object_of(chat.get("params")).get("system")
    if isinstance(system, str) and system:
        prompt = [{"role": "system", "content": system}, *prompt]
    model = judgement.get("model_id") or turns[-1].get("model")
    body: Body = {
        "completion_id": about,
        **texts_of(prompt, answer),
        "signal": {"kind": "comment", "text": remark} if unrated else rules.thumbs(rating, "rating"),
        "origin": "import",
        "metadata": {"source": "open-webui", **({"model": model} if isinstance(model, str) else {})},
        **{name: value for name, value in facts.items() if value is not None},
    }
    return EventDraft(body, None if unrated else remark)


def _turns_to(messages: Mapping[str, Any], about: str) -> list[Row]:
    """Returns the messages from the first to `about`, along their parents."""
    turns: list[Row] = []
    at: Any = about
    while at is not None and len(turns) < _MOST_TURNS:
        message = messages.get(at)
        if not isinstance(message, dict):
            raise Faulty(f"the chat of the feedback lacks the message {at}")
        turns.append(message)
        at = message.get("parentId")
    return turns[::-1]


def _answer(turn: Row) -> list[Body]:
    """Returns the messages that the judged answer is: the calls of tools and their results, then the answer."""
    message = _content(turn)
    if not isinstance(message["content"], str) or message["role"] != "assistant":
        return [message]
    return messages_in(message["content"])


def _message(turn: Row) -> Body:
    """Returns an earlier message of the chat as the model read it."""
    message = _content(turn)
    content = message["content"]
    return {**message, "content": without_blocks(content)} if isinstance(content, str) else message


def _content(turn: Row) -> Body:
    require_nothing_lost(turn, "a message of the chat")
    if turn.get("files"):
        raise Faulty(f"a message of the chat: {RowFault('lost_fields', 'files').sentence}")
    return {"role": turn.get("role"), "content": turn.get("content")}


FEEDBACK = RecordShape(
    "open-webui",
    "feedback of open-webui",
    _is_feedback,
    _feedback,
    frozenset(
        {
            "id",
            "user_id",
            "type",
            "version",
            "data",
            "meta",
            "snapshot",
            "created_at",
            "updated_at",
            "user",
        }
    ),
)
CHATS = RecordShape(
    "open-webui-chats",
    "chats of open-webui with rated answers",
    _is_chat,
    _chat,
    frozenset(
        {
            "id",
            "user_id",
            "chat",
            "title",
            "created_at",
            "updated_at",
        }
    ),
)
