"""Reads the messages that tracing tools record, each in the words of its library, as messages of the API. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from thumbwheel.chat_messages import REASONING, TEXT_PARTS

from app.feedback.importing.drafts import Body, Faulty
from app.feedback.importing.texts import require_nothing_lost

#: Names of roles in LangChain, ShareGPT and Gemini.
_ROLES = {"human": "user", "ai": "assistant", "gpt": "assistant", "model": "assistant", "bot": "assistant"}
_CLASSES = {"HumanMessage": "user", "AIMessage": "assistant", "SystemMessage": "system", "ToolMessage": "tool"}
#: Types of parts, and of OpenAI's items, that are not content.
_CALLS = frozenset({"tool_call", "tool_use", "function_call", "tool-call"})
_RESULTS = frozenset({"tool_result", "tool_call_response", "function_call_output", "tool-result"})
_THOUGHTS = frozenset({"reasoning", "thinking", "thought"})
PARTS = _CALLS | _RESULTS | _THOUGHTS | TEXT_PARTS.keys()


def traced_messages(message: Any, name: str) -> Iterator[Body]:
    """Yields a recorded message, after the results of tools that it holds as parts. Raises `Faulty`."""
    if isinstance(message, (list, tuple)) and len(message) == 2 and isinstance(message[0], str):
        message = {"role": message[0], "content": message[1]}
    if not isinstance(message, Mapping):
        raise Faulty(f"{name} is no message with a role and a content")
    if "role" not in message and kind_of(message) in PARTS:
        message = {"role": "assistant", "content": [message]}
    classes = message.get("id") if "kwargs" in message else None
    fields = next((message[key] for key in ("kwargs", "data") if isinstance(message.get(key), Mapping)), message)
    role = message.get("role", _CLASSES.get(str(classes[-1])) if isinstance(classes, list) and classes else None)
    role = role or message.get("type") or fields.get("type")
    role = _ROLES.get(str(role), role)
    beside = fields.get("additional_kwargs")
    fields = {
        **(beside if isinstance(beside, Mapping) else {}),
        **{key: fields[key] for key in fields if fields[key] not in (None, [], {})},
    }
    require_nothing_lost(fields, name)
    content = fields.get("content", fields.get("parts", message.get("content")))
    if not isinstance(content, list):
        yield _whole(role, content, fields, name)
        return
    yield from (_result(part) for part in content if kind_of(part) in _RESULTS)
    rest = [part for part in content if kind_of(part) not in _RESULTS]
    if rest or not content:
        yield _whole(role, rest, fields, name)


def _whole(role: Any, content: Any, fields: Mapping[str, Any], name: str) -> Body:
    read: Body = {"role": role}
    parts = content if isinstance(content, list) else []
    beside = fields.get("tool_calls")
    calls = [*(beside if isinstance(beside, list) else ()), *(part for part in parts if kind_of(part) in _CALLS)]
    thoughts = [text for part in parts if kind_of(part) in _THOUGHTS and (text := _thought(part))]
    if isinstance(content, list):
        content = _content(parts, name)
    if content is not None or not (calls or fields.get("refusal")):
        read["content"] = content
    for field in ("name", "tool_call_id") if role == "tool" else ("name",):
        if isinstance(fields.get(field), str):
            read[field] = fields[field]
    if calls:
        read["tool_calls"] = [_call(call, name) for call in calls]
    if role == "assistant":
        reasoning = next((fields[key] for key in REASONING if isinstance(fields.get(key), str)), "\n".join(thoughts))
        read |= {"reasoning_content": reasoning} if reasoning else {}
        read |= {"refusal": fields["refusal"]} if isinstance(fields.get("refusal"), str) else {}
    return read


def _content(parts: list[Any], name: str) -> Any:
    """Returns the content that the parts are: the text of an only part, else all parts; none is None."""
    kept = [_part(part, name) for part in parts if kind_of(part) not in _CALLS | _THOUGHTS]
    if len(kept) == 1 and kept[0]["type"] == "text":
        return kept[0]["text"]
    return kept or None


def _part(part: Any, name: str) -> Body:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, Mapping):
        raise Faulty(f"{name} has a part that is neither a text nor an object")
    kind = kind_of(part)
    text = next((part[key] for key in ("text", "content", "value", "refusal") if isinstance(part.get(key), str)), None)
    if text is not None and (kind is None or kind in TEXT_PARTS):
        return {"type": "text", "text": text}
    if kind is None or kind in TEXT_PARTS:
        raise Faulty(f"{name} has a part without {'a type' if kind is None else 'its text'}")
    return dict(part)


def _call(call: Any, name: str) -> Body:
    """Returns a tool call in the words of the API: OpenAI's, LangChain's `args`, Anthropic's `input`."""
    call = call if isinstance(call, Mapping) else {}
    function = call["function"] if isinstance(call.get("function"), Mapping) else call
    title = _first(function, "name", "tool_name", "toolName")
    if not isinstance(title, str):
        raise Faulty(f"{name} has a tool call without the name of a function")
    arguments = _first(function, "arguments", "args", "input")
    identity = _first(call, "call_id", "id", "tool_call_id", "toolCallId")
    written = {} if arguments in (None, "") else arguments
    return {
        **({"id": identity} if isinstance(identity, str) else {}),
        "type": "function",
        "function": {"name": title, "arguments": written},
    }


def _result(part: Mapping[str, Any]) -> Body:
    """Returns the result of a tool, a part of a message in some libraries, as a message of its own."""
    content = _first(part, "result", "response", "output", "content")
    if isinstance(content, list) and all(map(kind_of, content)):
        content = _content(content, "the result of a tool")
    elif content is not None and not isinstance(content, str):
        content = json.dumps(content, ensure_ascii=False)
    read: Body = {"role": "tool", "content": "" if content is None else content}
    identity = _first(part, "tool_use_id", "call_id", "tool_call_id", "toolCallId", "id")
    return read | ({"tool_call_id": identity} if isinstance(identity, str) else {})


def _thought(part: Mapping[str, Any]) -> str | None:
    text = _first(part, "text", "content", "thinking", "reasoning", "summary")
    if isinstance(text, list):
        text = "\n".join(str(item.get("text", "")) for item in text if isinstance(item, Mapping))
    return text if isinstance(text, str) else None


def kind_of(part: Any) -> str | None:
    """Returns the type of a part; None if it has none."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    return kind if isinstance(kind, str) else None


def _first(value: Mapping[str, Any], *names: str) -> Any:
    return next((value[name] for name in names if value.get(name) is not None), None)
