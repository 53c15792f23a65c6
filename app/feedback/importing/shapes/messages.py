"""Conversations in one list of messages with a judgement: ms-swift, and LLaMA-Factory with OpenAI's messages. Pure."""

from collections.abc import Iterator

from app.feedback.importing.drafts import EventDraft, Row, SaysNothing
from app.feedback.importing.judgements import Rules
from app.feedback.importing.shapes.events import comment_of
from app.feedback.importing.shapes.rows import ABOUT, about, label_signal
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import (
    body_of,
    last_answer,
    messages_of,
    preference_of,
    require_row_complete,
    with_system,
    with_tools,
)

_LABELS = ("label", "kto_tag")
_PAIRS = ("rejected_response", "rejected_messages", "chosen")


def _recognises(row: Row) -> bool:
    return isinstance(row.get("messages"), list)


def _drafts(row: Row, rules: Rules) -> Iterator[EventDraft]:
    require_row_complete(row)
    if "chosen" in row:  # LLaMA-Factory: the messages are the prompt
        prompt = with_tools(with_system(row.get("system"), messages_of(row["messages"])), row)
        body = preference_of(prompt, _listed(row["chosen"]), _listed(row.get("rejected")))
    else:
        prompt, answer = last_answer(row["messages"])
        prompt = with_tools(with_system(row.get("system"), prompt), row)
        if "rejected_response" in row:
            body = preference_of(prompt, answer, row["rejected_response"])
        elif "rejected_messages" in row:
            body = preference_of(prompt, answer, last_answer(row["rejected_messages"], "rejected_messages")[1])
        else:
            name = next((name for name in _LABELS if name in row), None)
            if name is None:
                raise SaysNothing("the conversation has no judgement: add label, rejected_response or a weight")
            body = body_of(prompt, answer, label_signal(row, rules, name))
    yield EventDraft({**body, **about(row)}, comment_of(row))


def _listed(answer: object) -> object:
    return [answer] if isinstance(answer, dict) else answer


SHAPE = RecordShape(
    "messages",
    "chats in messages with a label or a rejected answer (ms-swift, LLaMA-Factory)",
    _recognises,
    _drafts,
    ABOUT | {"messages", "system", "rejected", *_LABELS, *_PAIRS},
)
