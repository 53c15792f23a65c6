"""Conversations in ShareGPT's shape, with a judgement as LLaMA-Factory and others write it. Pure."""

from collections.abc import Iterator
from typing import Any

from app.feedback.importing.drafts import EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules
from app.feedback.importing.shapes.events import comment_of
from app.feedback.importing.shapes.rows import ABOUT, about, label_signal
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import (
    CALLING,
    ROLES,
    body_of,
    last_answer,
    messages_of,
    preference_of,
    require_row_complete,
    with_system,
    with_tools,
)

_LABELS = ("kto_tag", "label")
_FIELDS = ABOUT | {"conversations", "system", "chosen", "rejected", *_LABELS}
_SENDERS = {*ROLES, *CALLING, "user", "assistant", "system", "tool"}


def _recognises(row: Row) -> bool:
    return isinstance(row.get("conversations"), list)


def _drafts(row: Row, rules: Rules) -> Iterator[EventDraft]:
    require_row_complete(row)
    system = row.get("system")
    turns = [_message(turn) for turn in row["conversations"]]
    name = next((name for name in _LABELS if name in row), None)
    if "chosen" in row or "rejected" in row:
        chosen, rejected = _answer(row.get("chosen"), "chosen"), _answer(row.get("rejected"), "rejected")
        body = preference_of(with_tools(with_system(system, messages_of(turns)), row), chosen, rejected)
    elif name is not None:
        prompt, answer = last_answer(turns, "conversations")
        body = body_of(with_tools(with_system(system, prompt), row), answer, label_signal(row, rules, name))
    else:
        raise SaysNothing("the conversation has no judgement: add kto_tag, or chosen and rejected")
    yield EventDraft({**body, **about(row)}, comment_of(row))


def _message(turn: Any) -> dict[str, Any]:
    if not isinstance(turn, dict) or "from" not in turn:
        raise Faulty("a turn of the conversation has no `from` and `value`")
    sender = turn["from"]
    if not isinstance(sender, str) or sender not in _SENDERS:
        raise Faulty(f"a turn from {sender!r} is not by a known role: it must be one of {', '.join(sorted(_SENDERS))}")
    return {"role": sender, "content": turn.get("value")}


def _answer(answer: Any, name: str) -> Any:
    """Returns an answer as one message in a list; a text as it is."""
    if isinstance(answer, dict):
        return [_message(answer)] if "from" in answer else [answer]
    if isinstance(answer, list):
        return [_message(turn) if isinstance(turn, dict) and "from" in turn else turn for turn in answer]
    if answer is None:
        raise Faulty(f"{name} is missing")
    return answer


SHAPE = RecordShape("sharegpt", "ShareGPT's conversations", _recognises, _drafts, _FIELDS)
