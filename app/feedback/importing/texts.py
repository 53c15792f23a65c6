"""Reads prompts and answers that are texts or chat messages, and refuses what an event cannot hold. Pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from thumbwheel.row_checks import RowFault, is_invisible, lost_in_message, lost_in_row

from app.feedback.importing.drafts import Body, Faulty, Row, SaysNothing

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
#: The names that ShareGPT gives to two of the roles.
ROLES = {"human": "user", "gpt": "assistant"}


def completion_id_of(prompt: Any, text: str) -> str:
    """Derives a completion id, which rows lack: votes on the same text for the same prompt share one completion."""
    return "imported-" + hashlib.sha256(_ENCODER.encode([prompt, text]).encode()).hexdigest()[:32]


def body_of(prompt: Any, completion: str, signal: Body) -> Body:
    """Returns the body of an event with its texts."""
    return {
        "completion_id": completion_id_of(prompt, completion),
        "prompt": prompt,
        "completion": completion,
        "signal": signal,
    }


def preference_of(prompt: Any, chosen: Any, rejected: Any, *, tie: bool = False) -> Body:
    """Returns the body of a preference; an empty rejected answer, which cannot be trained on, is left out."""
    if tie and not _is_visible(text_of(chosen, "the first answer", empty=True)):
        chosen, rejected = rejected, chosen
    better, worse = text_of(chosen, "the preferred answer"), text_of(rejected, "the other answer", empty=True)
    if better == worse:
        raise SaysNothing("both answers are the same text")
    signal: Body = {"kind": "preference", "rejected_completion_id": completion_id_of(prompt, worse)}
    if _is_visible(worse):
        signal["rejected"] = worse
    if tie:
        signal["tie"] = True
    return body_of(prompt, better, signal)


def prompt_of(row: Row, name: str = "prompt", system: Any = None) -> Any:
    """Returns the prompt of a row: a text or messages. A system text beside a text makes messages of both."""
    prompt = row.get(name)
    if prompt is None:
        raise Faulty(f"{name} is missing")
    messages = messages_of(prompt) if isinstance(prompt, list) else prompt
    return with_system(system, messages)


def with_system(system: Any, prompt: Any) -> Any:
    """Returns the prompt after a message of the system; unchanged if `system` is empty."""
    if system is None or system == "":
        return prompt
    if not isinstance(system, str):
        raise Faulty(f"system is {json.dumps(system, default=str)[:60]}: must be a text")
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return [{"role": "system", "content": system}, *messages]


def messages_of(prompt: list[Any]) -> list[Any]:
    """Returns the messages with known names of roles. Raises `Faulty` for one with fields that would get lost."""
    for number, message in enumerate(prompt):
        if isinstance(message, dict) and message.get("tool_calls"):
            raise Faulty(f"message {number} of the prompt calls a tool: only messages of text can be imported")
        if isinstance(message, dict):
            if isinstance(message.get("content"), list):
                raise Faulty(f"message {number} of the prompt has content in parts: only text can be imported")
            # The id of the call that a result answers is stored, as the API stores it.
            require_nothing_lost({name: message[name] for name in message if name != "tool_call_id"}, "prompt")
    return [
        {**message, "role": ROLES.get(role, role)}
        if isinstance(message, dict) and isinstance(role := message.get("role"), str)
        else message
        for message in prompt
    ]


def text_of(answer: Any, name: str, *, empty: bool = False) -> str:
    """Returns the text of an answer that is a string or one message of the assistant; `empty` permits an empty text."""
    if answer is None:
        raise Faulty(f"{name} is missing")
    if isinstance(answer, list):
        if (
            len(answer) != 1
            or not isinstance(answer[0], dict)
            or ROLES.get(str(role := answer[0].get("role")), role) != "assistant"
        ):
            raise Faulty(f"{name} must be a text or exactly one message of the assistant")
        require_nothing_lost(answer[0], name)
        answer = answer[0].get("content")
    if not isinstance(answer, str):
        raise Faulty(f"{name} must be a text or exactly one message of the assistant with a text")
    if empty and not _is_visible(answer):
        return answer
    if not answer.strip():
        raise Faulty(f"{name} is empty")
    if is_invisible(answer):
        raise Faulty(f"{name}: {RowFault('invisible_answer').sentence}")
    return answer


def last_answer(messages: Any, name: str = "messages") -> tuple[list[Any], str]:
    """Splits a conversation into the messages of the prompt and the assistant's last answer."""
    if not isinstance(messages, list) or len(messages) < 2:
        raise Faulty(f"{name} must be a list of at least two messages, of which the last is the assistant's")
    return messages_of(messages[:-1]), text_of(messages[-1:], f"the last of the {name}")


def require_row_complete(row: Row) -> None:
    """Raises `Faulty` if the row has columns that a model should read but that are not in its texts."""
    if (fault := lost_in_row(row)) is not None:
        raise Faulty(fault.sentence)


def require_nothing_lost(message: Mapping[str, Any], name: str) -> None:
    if (fault := lost_in_message(message)) is not None:
        raise Faulty(f"{name}: {fault.sentence}")


def _is_visible(answer: str) -> bool:
    return bool(answer.strip()) and not is_invisible(answer)
