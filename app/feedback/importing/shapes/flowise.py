"""Flowise: an export with chat messages and the feedback on them. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.feedback.importing.drafts import Body, Draft, EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import text_of, texts_of
from app.feedback.importing.values import required_id, time_of

_ROLES = {"userMessage": "user", "apiMessage": "assistant"}


def _recognises(row: Row) -> bool:
    return isinstance(row.get("ChatMessage"), list) and isinstance(row.get("ChatMessageFeedback"), list)


def _drafts(row: Row, rules: Rules) -> Iterator[Draft]:
    chats: dict[Any, list[Row]] = defaultdict(list)
    for message in sorted(filter(_is_message, row["ChatMessage"]), key=lambda message: str(message.get("createdDate"))):
        chats[message.get("chatId")].append(message)
    places = {message["id"]: (chat, place) for chat in chats.values() for place, message in enumerate(chat)}
    if not row["ChatMessageFeedback"]:
        raise SaysNothing("nobody rated a message")
    for feedback in row["ChatMessageFeedback"]:
        try:
            yield _event(feedback, places, rules)
        except (Faulty, SaysNothing) as fault:
            yield fault


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") in _ROLES and isinstance(message.get("id"), str)


def _event(feedback: Any, places: Mapping[str, tuple[Sequence[Row], int]], rules: Rules) -> EventDraft:
    if not isinstance(feedback, dict):
        raise Faulty("a feedback is not a JSON object")
    about = required_id(feedback.get("messageId"), "messageId")
    if about not in places:
        raise Faulty(f"the export does not hold the message {about}: export the chat messages of its flow, too")
    chat, place = places[about]
    before = [message for message in chat[:place] if message.get("content")]
    if not any(message["role"] == "userMessage" for message in before):
        raise Faulty("the chat has no message of the user before the rated answer")
    files = next((message for message in before if message.get("fileUploads") not in (None, "", "[]")), None)
    if files is not None:
        raise Faulty("a message of the chat has files, which are not in the export")
    prompt = [{"role": _ROLES[message["role"]], "content": message["content"]} for message in before]
    comment = feedback.get("content") if isinstance(feedback.get("content"), str) else None
    if feedback.get("rating") is not None:
        signal = rules.thumbs(feedback["rating"], "rating")
    elif comment:
        signal, comment = {"kind": "comment", "text": comment}, None
    else:
        raise SaysNothing("the feedback has neither a rating nor a text")
    body: Body = {
        "event_id": required_id(feedback.get("id"), "id"),
        "completion_id": about,
        **texts_of(prompt, text_of(chat[place].get("content"), "the answer")),
        "signal": signal,
        "origin": "import",
        "metadata": {"source": "Flowise"},
    }
    if chat[place].get("chatId"):
        # A chat is of one visitor, who has no other name.
        body["conversation_id"] = required_id(chat[place]["chatId"], "chatId")
        body["actor"] = f"chat-{chat[place]['chatId']}"[:128]
    if feedback.get("createdDate"):
        body["occurred_at"] = time_of(feedback["createdDate"])
    return EventDraft(body, comment)


SHAPE = RecordShape(
    "flowise",
    "an export of Flowise with chat messages and feedback",
    _recognises,
    _drafts,
    frozenset({"ChatMessage", "ChatMessageFeedback", "ChatFlow"}),
)
