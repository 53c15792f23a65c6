"""Reads the prompts and answers of the rows of files. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from thumbwheel.chat_messages import REASONING
from thumbwheel.row_checks import RowFault, is_invisible, lost_in_message

Row = Mapping[str, Any]

#: The names that ShareGPT gives to two of the roles.
_ROLES = {"human": "user", "gpt": "assistant"}
#: Fields of a message that make it more than its text.
MORE = ("tool_calls", *REASONING)
#: Fields that may be null. Ids are derived from messages, so they stay as they are.
_NULLABLE = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})


class Faulty(Exception):
    """A row that cannot be imported."""


def prompt_of(row: Row) -> Any:
    """Returns the prompt of a row, with its tools."""
    prompt = row.get("prompt")
    if prompt is None:
        raise Faulty("prompt is missing")
    return with_tools(messages_of(prompt) if isinstance(prompt, list) else prompt, row)


def with_tools(prompt: Any, row: Row) -> Any:
    """Returns the prompt with the tools that the row offers."""
    tools = row.get("tools")
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError):
            raise Faulty("tools is a text that is not JSON: write a list of JSON schemas") from None
    if not tools:
        return prompt
    if not isinstance(tools, list):
        raise Faulty(f"tools is {json.dumps(tools)[:60]}: must be a list of JSON schemas")
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return {"messages": messages, "tools": tools}


def messages_of(prompt: list[Any]) -> list[Any]:
    """Returns the messages of a prompt as the API takes them."""
    for message in prompt:
        if isinstance(message, dict):
            _require_nothing_lost(message, "prompt")
    return [_message(message) if isinstance(message, dict) else message for message in prompt]


def _message(message: Row) -> Row:
    """Returns a message with the API's names of roles, and without other fields that are null."""
    role = message.get("role")
    given = {name: value for name, value in message.items() if value is not None or name in _NULLABLE}
    if "thinking" in given:
        given.setdefault("reasoning_content", given.pop("thinking"))
    return {**given, "role": _ROLES.get(role, role)} if isinstance(role, str) else given


def answer_of(answer: Any, name: str) -> Any:
    """Returns the text of an answer, or its message if that has tool calls, reasoning or parts."""
    [message] = answer if isinstance(answer, list) and len(answer) == 1 else [answer]
    if isinstance(message, dict) and (any(map(message.get, MORE)) or isinstance(message.get("content"), list)):
        _require_nothing_lost(message, name)
        return _message(message)
    return text_of(answer, name)


def text_of(answer: Any, name: str, *, empty: bool = False) -> str:
    """Returns the text of an answer that is a string or one message of the assistant; `empty` permits an empty text."""
    if answer is None:
        raise Faulty(f"{name} is missing")
    if isinstance(answer, list):
        if (
            len(answer) != 1
            or not isinstance(answer[0], dict)
            or _ROLES.get(str(role := answer[0].get("role")), role) != "assistant"
        ):
            raise Faulty(f"{name} must be a text or exactly one message of the assistant")
        _require_nothing_lost(answer[0], name)
        if more := [field for field in MORE if answer[0].get(field)]:
            raise Faulty(f"{name} has {', '.join(more)}: only a text can stand here")
        answer = answer[0].get("content")
    if not isinstance(answer, str):
        raise Faulty(f"{name} must be a text or exactly one message of the assistant with a text")
    if empty and not is_visible(answer):
        return answer
    if not answer.strip():
        raise Faulty(f"{name} is empty")
    if is_invisible(answer):
        raise Faulty(f"{name}: {RowFault('invisible_answer').sentence}")
    return answer


def is_visible(answer: str) -> bool:
    """Returns whether the answer has a visible character."""
    return bool(answer.strip()) and not is_invisible(answer)


def _require_nothing_lost(message: Row, name: str) -> None:
    if (fault := lost_in_message(message)) is not None:
        raise Faulty(f"{name}: {fault.sentence}")
