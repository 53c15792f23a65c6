"""Reads prompts and answers as tracing tools record them: texts, chats, envelopes of libraries. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from thumbwheel.row_checks import lost_in_row

from app.feedback.importing.drafts import Faulty
from app.feedback.importing.texts import require_nothing_lost, text_of

#: Names of roles in LangChain and ShareGPT.
_ROLES = {"human": "user", "ai": "assistant", "gpt": "assistant", "model": "assistant", "bot": "assistant"}
_CLASSES = {"HumanMessage": "user", "AIMessage": "assistant", "SystemMessage": "system", "ToolMessage": "tool"}
_PROMPTS = ("messages", "input", "question", "query", "prompt", "inputs", "user_input", "text")
_ANSWERS = ("output", "answer", "response", "completion", "text", "content", "result", "outputs", "message", "raw")
_DEPTH = 6


def traced_prompt(value: Any, name: str = "input", depth: int = _DEPTH) -> Any:
    """Returns the recorded input of a model as a prompt. Raises `Faulty` if it holds more than text."""
    value = _decoded(value)
    if isinstance(value, str):
        if not value.strip():
            raise Faulty(f"{name} is empty")
        return value
    if isinstance(value, list) and value:
        if len(value) == 1 and isinstance(value[0], list):  # LangChain records a list of conversations
            value = value[0]
        return [traced_message(message, f"message {number} of the {name}") for number, message in enumerate(value)]
    if isinstance(value, Mapping) and depth:
        if (fault := lost_in_row(value)) is not None:
            raise Faulty(f"{name}: {fault.sentence}")
        if "role" in value or "kwargs" in value:
            return [traced_message(value, name)]
        key = _only(value, _PROMPTS)
        if key is not None:
            prompt = traced_prompt(value[key], name, depth - 1)
            system = value.get("system")
            if isinstance(system, str) and system and isinstance(prompt, list):
                return [{"role": "system", "content": system}, *prompt]
            return prompt
    raise Faulty(f"{name} is neither a text nor a chat")


def traced_answer(value: Any, name: str = "output", depth: int = _DEPTH) -> str:
    """Returns the recorded output of a model as a text. Raises `Faulty` if it is no text."""
    value = _decoded(value)
    if isinstance(value, str):
        return text_of(value, name)
    if isinstance(value, list) and len(value) == 1 and depth:
        if isinstance(value[0], Mapping) and value[0].get("type") == "text" and "role" not in value[0]:
            return text_of(value[0].get("text", value[0].get("content")), name)
        return traced_answer(value[0], name, depth - 1)
    if isinstance(value, list) and value:
        raise Faulty(f"{name} has {len(value)} parts: only one text can be imported")
    if isinstance(value, Mapping) and depth:
        if "role" in value or "kwargs" in value:
            return text_of([traced_message(value, name)], name)
        for key in ("choices", "generations", "messages"):
            if isinstance(value.get(key), list) and value[key]:
                return traced_answer(value[key][-1:], name, depth - 1)
        if isinstance(value.get("message"), Mapping):
            return traced_answer(value["message"], name, depth - 1)
        if isinstance(value.get("parts"), list):
            return text_of(_text_of_parts(value["parts"], name), name)
        field = _only(value, _ANSWERS)
        if field is not None:
            return traced_answer(value[field], name, depth - 1)
    raise Faulty(f"{name} is {'missing' if value is None else 'not a text'}")


def traced_message(message: Any, name: str) -> dict[str, Any]:
    """Returns a message with role and content. Raises `Faulty` if it has parts that are no text."""
    if isinstance(message, (list, tuple)) and len(message) == 2 and isinstance(message[0], str):
        message = {"role": message[0], "content": message[1]}
    if not isinstance(message, Mapping):
        raise Faulty(f"{name} is no message with a role and a content")
    classes = message.get("id") if "kwargs" in message else None
    fields = next((message[key] for key in ("kwargs", "data") if isinstance(message.get(key), Mapping)), message)
    role = message.get("role", _CLASSES.get(str(classes[-1])) if isinstance(classes, list) and classes else None)
    role = role or message.get("type") or fields.get("type")
    extra = {**fields, **fields.get("additional_kwargs", {})} if isinstance(fields, dict) else fields
    require_nothing_lost({key: value for key, value in extra.items() if key != "tool_call_id"}, name)
    content = fields.get("content", fields.get("parts"))
    read = {"role": _ROLES.get(str(role), role), "content": _text_of_parts(content, name)}
    if read["role"] == "tool" and isinstance(fields.get("tool_call_id"), str):
        read["tool_call_id"] = fields["tool_call_id"]
    return read


def _text_of_parts(content: Any, name: str) -> Any:
    """Returns the text of a content with exactly one part, which is a text; other contents as they are."""
    if not isinstance(content, list):
        return content
    kinds = sorted({str(part.get("type")) if isinstance(part, Mapping) else "text" for part in content})
    if len(content) != 1 or kinds != ["text"]:
        raise Faulty(f"{name} has {len(content)} parts of type {', '.join(kinds)}: only one text can be imported")
    part = content[0]
    return part if isinstance(part, str) else part.get("text", part.get("content", part.get("value")))


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
            first.keys() & {"role", "messages", "choices", "generations"} or first.keys() == {"type", "text"}
        ):
            return decoded
    return value
