"""LibreChat: exported conversations, as a list of messages or as a tree, with thumbs on their answers. Pure."""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from app.feedback.importing.drafts import Body, Draft, EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import answer_of, texts_of, with_system
from app.feedback.importing.traced_texts import traced_prompt
from app.feedback.importing.values import object_of, required_id, time_of

_MOST_TURNS = 1000


def _recognises(row: Row) -> bool:
    if "conversationId" not in row:
        return False
    given = row.get("messagesTree", row.get("messages"))
    first = given[0] if isinstance(given, list) and given else None
    return isinstance(first, dict) and {"messageId", "isCreatedByUser"} <= first.keys()


def _drafts(row: Row, rules: Rules) -> Iterator[Draft]:
    messages = {str(message.get("messageId")): message for message in _messages(row)}
    rated = [about for about, message in messages.items() if isinstance(message.get("feedback"), dict)]
    if not rated:
        raise SaysNothing("no answer of the conversation was rated")
    for about in rated:
        try:
            yield _event(row, messages, about, rules)
        except (Faulty, SaysNothing) as fault:
            yield fault


def _messages(row: Row) -> Iterator[Row]:
    """Yields all messages: the tree holds them as children of each other, the list side by side."""
    waiting = deque(row.get("messagesTree") or row.get("messages") or ())
    while waiting:
        message = waiting.popleft()
        if isinstance(message, dict):
            yield message
            waiting.extend(message.get("children") or ())


def _event(row: Row, messages: Mapping[str, Row], about: str, rules: Rules) -> EventDraft:
    message = messages[about]
    feedback = message["feedback"]
    if message.get("error"):
        raise SaysNothing("the rated message is an error, not an answer of a model")
    turns = _turns_to(messages, about)
    if len(turns) == 1:
        raise Faulty("the conversation has no message before the rated answer")
    *calls, last = _said(message)
    said = [part for turn in turns[:-1] for part in _said(turn) if part["content"] or "tool_calls" in part]
    prompt = traced_prompt([*said, *calls], "the conversation")
    prompt = with_system(object_of(row.get("options")).get("promptPrefix"), prompt)
    conversation = required_id(row["conversationId"], "conversationId")
    tag = feedback.get("tag")
    remarks = [tag.get("key") if isinstance(tag, dict) else tag, feedback.get("text")]
    body: Body = {
        "event_id": f"librechat-{about}"[:128],
        "completion_id": about,
        **texts_of(prompt, answer_of([last], "the answer")),
        "signal": rules.thumbs(feedback.get("rating"), "rating"),
        # An export does not name its user, of whom a conversation has one.
        "actor": f"conversation-{conversation}"[:128],
        "conversation_id": conversation,
        "origin": "import",
        "metadata": {
            "source": "LibreChat",
            **({"model": message["model"]} if isinstance(message.get("model"), str) else {}),
        },
    }
    if message.get("updatedAt"):
        body["occurred_at"] = time_of(message["updatedAt"])
    return EventDraft(body, ": ".join(part for part in remarks if isinstance(part, str) and part) or None)


def _turns_to(messages: Mapping[str, Row], about: str) -> list[Row]:
    """Returns the messages from the first to `about`, along their parents; errors are no turns."""
    turns: list[Row] = []
    at: Any = about
    while at in messages and len(turns) < _MOST_TURNS:
        message = messages[at]
        turns.append(message)
        at = message.get("parentMessageId")
    return [turn for turn in turns[::-1] if not turn.get("error")]


def _said(message: Row) -> list[Body]:
    """Returns what the model reads or wrote as a message: its text, or the calls, results and text of its parts."""
    if message.get("isCreatedByUser"):
        if message.get("files") or message.get("attachments"):
            raise Faulty("a message of the conversation has files, which are not in the export")
        return [{"role": "user", "content": message.get("text") or ""}]
    parts = message.get("content")
    if not isinstance(parts, list) or not parts:
        return [{"role": "assistant", "content": message.get("text") or ""}]
    said: list[Body] = []
    text, thoughts = "", ""
    for part in filter(None, parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            text += _text(part.get("text"))
        elif kind == "think":
            thoughts += _text(part.get("think"))
        elif kind == "tool_call" and isinstance(part.get("tool_call"), dict):
            said += _called(part["tool_call"], text, thoughts)
            text, thoughts = "", ""
        else:
            raise Faulty(f"an answer has a part of the type {kind}, which an event cannot hold")
    return [*said, _assistant(text, thoughts)]


def _called(call: Row, text: str, thoughts: str) -> list[Body]:
    name, output = call.get("name"), call.get("output")
    if not isinstance(name, str) or not name:
        raise Faulty("an answer has a tool call without the name of a function")
    identity = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    function = {"name": name, "arguments": call.get("args") or {}}
    result = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
    answered: Body = {"role": "tool", "content": result}
    if identity:
        answered["tool_call_id"] = identity["id"]
    calls = [{**identity, "type": "function", "function": function}]
    return [{**_assistant(text, thoughts), "tool_calls": calls}, answered]


def _assistant(text: str, thoughts: str) -> Body:
    return {"role": "assistant", "content": text, **({"reasoning_content": thoughts} if thoughts else {})}


def _text(value: Any) -> str:
    """Returns the text of a part, which assistants of OpenAI write as an object."""
    value = value.get("value") if isinstance(value, dict) else value
    return value if isinstance(value, str) else ""


SHAPE = RecordShape(
    "librechat",
    "conversations of LibreChat with rated answers",
    _recognises,
    _drafts,
    frozenset({"conversationId", "messages", "messagesTree", "options"}),
)
