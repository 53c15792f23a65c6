"""Reads prompts and answers as tracing tools record them: texts, chats, envelopes of libraries. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from thumbwheel.row_checks import lost_in_row

from app.feedback.importing.drafts import Faulty
from app.feedback.importing.texts import answer_of, text_of, with_system, with_tools
from app.feedback.importing.traced_messages import PARTS, kind_of, traced_messages

_PROMPTS = ("messages", "input", "question", "query", "prompt", "inputs", "user_input", "text")
_ANSWERS = ("output", "answer", "response", "completion", "text", "content", "result", "outputs", "message", "raw")
_DEPTH = 6


def traced_prompt(value: Any, name: str = "input", depth: int = _DEPTH) -> Any:
    """Returns the recorded input of a model as a prompt, with its tools. Raises `Faulty`."""
    value = _decoded(value)
    if isinstance(value, str):
        if not value.strip():
            raise Faulty(f"{name} is empty")
        return value
    if isinstance(value, list) and value:
        if len(value) == 1 and isinstance(value[0], list):  # LangChain records a list of conversations
            value = value[0]
        return [
            read
            for number, message in enumerate(value)
            for read in traced_messages(message, f"message {number} of the {name}")
        ]
    if isinstance(value, Mapping) and depth:
        if (fault := lost_in_row(value)) is not None:
            raise Faulty(f"{name}: {fault.sentence}")
        if "role" in value or "kwargs" in value:
            return list(traced_messages(value, name))
        key = _only(value, _PROMPTS)
        if key is not None:
            prompt = traced_prompt(value[key], name, depth - 1)
            system = value.get("system")
            if isinstance(system, str) and not isinstance(prompt, str):
                prompt = with_system(system, prompt)
            return with_tools(prompt, value)
    raise Faulty(f"{name} is neither a text nor a chat")


def traced_answer(value: Any, name: str = "output", depth: int = _DEPTH) -> Any:
    """Returns the recorded output of a model: a text, or a message if it is more than that. Raises `Faulty`."""
    value = _decoded(value)
    if isinstance(value, str):
        return text_of(value, name)
    if isinstance(value, list) and value and depth:
        if all(map(_is_part, value)):
            return _answer({"role": "assistant", "content": [part for item in value for part in _parts_of(item)]}, name)
        if len(value) == 1:
            return traced_answer(value[0], name, depth - 1)
        raise Faulty(f"{name} has {len(value)} items: only one message can be imported")
    if isinstance(value, Mapping) and depth:
        if "role" in value or "kwargs" in value:
            return _answer(value, name)
        for key in ("choices", "generations", "messages"):
            if isinstance(value.get(key), list) and value[key]:
                return traced_answer(value[key][-1:], name, depth - 1)
        if isinstance(value.get("message"), Mapping):
            return traced_answer(value["message"], name, depth - 1)
        if isinstance(value.get("parts"), list):
            return _answer({"role": "assistant", "content": value["parts"]}, name)
        if value.get("tool_calls"):
            return _answer({"role": "assistant", **value}, name)
        field = _only(value, _ANSWERS)
        if field is not None:
            return traced_answer(value[field], name, depth - 1)
    raise Faulty(f"{name} is {'missing' if value is None else 'not a text'}")


def traced_text(value: Any, name: str) -> str:
    """Returns a recorded text. Raises `Faulty` for an answer that is more than a text."""
    return text_of(traced_answer(value, name), name)


def _answer(message: Mapping[str, Any], name: str) -> Any:
    messages = list(traced_messages(message, name))
    if len(messages) != 1:
        raise Faulty(f"{name} has results of tools: only one message of the assistant can be imported")
    return answer_of(messages, name)


def _is_part(item: Any) -> bool:
    """Returns whether an item is a part of a message, or an item of OpenAI's responses."""
    if not isinstance(item, Mapping):
        return False
    return (kind_of(item) in PARTS and "role" not in item) or (
        item.get("type") == "message" and item.get("role") == "assistant"
    )


def _parts_of(item: Mapping[str, Any]) -> list[Any]:
    """Returns the parts of a message among the items of a response; another item is a part itself."""
    if item.get("type") != "message":
        return [item]
    content = item.get("content")
    return content if isinstance(content, list) else [content]


def _only(value: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """Returns the first of the names that has a value, or the only field of the object."""
    known = next((name for name in names if value.get(name) not in (None, "")), None)
    if known is not None:
        return known
    return next(iter(value)) if len(value) == 1 else None


def _decoded(value: Any) -> Any:
    """Returns the chat or envelope that a text holds as JSON; another text as it is, since people send JSON too."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            decoded = json.loads(value)
        except (ValueError, RecursionError):
            return value
        first = decoded[0] if isinstance(decoded, list) and decoded else decoded
        if isinstance(first, dict) and (
            first.keys() & {"role", "messages", "choices", "generations"}
            or first.keys() == {"type", "text"}
            or (isinstance(decoded, list) and kind_of(first) in PARTS)
        ):
            return decoded
    return value
