"""The messages of a chat in one form, whatever form they were sent in. Pure.

A prompt is a text, a list of messages, or `{"messages": […], "tools": […]}`. In the normal form of a message

    content            is a text: text parts are joined by line ends, as vLLM joins them; none is the empty text
    tool_calls         have arguments as the text of a JSON object
    reasoning_content  is the reasoning, whatever its field was called
    name, tool_call_id stay as they are

and only fields with a value are there. So a message of parts equals the same message as one text. A message of role and
text alone, and a prompt of such messages, is its own normal form.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]

#: The fields of a message that is a text alone.
PLAIN = {"role", "content"}
#: Names of the field with the reasoning, in the order in which they count.
REASONING = ("reasoning_content", "reasoning", "thinking")
#: Types of parts with text, and the part's field that holds it.
TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
#: Types of parts that no text can stand for.
MEDIA_PARTS = frozenset(
    {
        "image", "image_url", "input_image", "audio", "audio_url", "input_audio", "video", "video_url", "input_video",
        "file", "input_file", "document",
    }
)  # fmt: skip


class UnreadableMessage(ValueError):
    """A message without a normal form. `reason` is a key of `row_checks.REASONS`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def messages_of(prompt: Any) -> Sequence[Message]:
    """Returns the messages of a prompt that is no text."""
    messages: Sequence[Message] = prompt["messages"] if isinstance(prompt, Mapping) else prompt
    return messages


def tools_of(prompt: Any) -> Sequence[Mapping[str, Any]]:
    """Returns the tools that a prompt offers, as JSON schemas."""
    return (prompt.get("tools") or ()) if isinstance(prompt, Mapping) else ()


def with_messages(prompt: Any, messages: Sequence[Message]) -> Any:
    """Returns a prompt of these messages, with the tools of `prompt`."""
    tools = tools_of(prompt)
    return {"messages": list(messages), "tools": list(tools)} if tools else messages


def is_plain(prompt: Any) -> bool:
    """Returns whether a prompt is a text, or a list of messages with nothing but a role and a text."""
    return isinstance(prompt, str) or (isinstance(prompt, list) and all(map(_is_plain, prompt)))


def normal_prompt(prompt: Any) -> Any:
    """Returns the prompt in its normal form. Raises `UnreadableMessage`."""
    if is_plain(prompt):
        return prompt
    messages = [normal_message(message) for message in messages_of(prompt)]
    tools = [_normal_tool(tool) for tool in tools_of(prompt)]
    return {"messages": messages, "tools": tools} if tools else messages


def normal_message(message: Message) -> dict[str, Any]:
    """Returns the message in its normal form. Raises `UnreadableMessage`."""
    if _is_plain(message):
        return {"role": message["role"], "content": message["content"]}
    calls = message.get("tool_calls")
    content = message.get("content")
    if content is None and not calls and not message.get("refusal"):
        raise UnreadableMessage("content_not_text", "null")
    normal = {"role": message.get("role"), "content": _text_of_content(content) or message.get("refusal") or ""}
    for name in ("name", "tool_call_id"):
        if message.get(name) is not None:
            normal[name] = message[name]
    if calls:
        normal["tool_calls"] = [_normal_call(call) for call in calls]
    if reasoning := next((message[name] for name in REASONING if message.get(name)), None):
        normal["reasoning_content"] = reasoning
    return normal


def text_of(message: Message) -> str:
    """Returns the text of a message in its normal form, and each of its tool calls as `name(arguments)`."""
    calls = message.get("tool_calls")
    content: str = message["content"]
    return content if not calls else "\n".join(filter(None, [content, *map(_call_as_text, calls)]))


def readable(message: Message) -> str:
    """Returns a message in any form as text for people: reasoning, text, a mark for each other part, tool calls."""
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(map(_readable_part, content))
    reasoning = next((message[name] for name in REASONING if message.get(name)), None)
    calls = message.get("tool_calls") or ()
    parts = [reasoning and f"[reasoning] {reasoning}", content or message.get("refusal"), *map(_call_as_text, calls)]
    return "\n".join(str(part) for part in parts if part)


def readable_prompt(prompt: Any) -> list[tuple[str, str]]:
    """Returns the role and the text of each message for people; the tools come first, by their names."""
    tools = tools_of(prompt)
    offered = [("tools", ", ".join(str(_function(tool).get("name")) for tool in tools))] if tools else []
    turns = []
    for message in messages_of(prompt):
        name = message.get("name")
        turns.append((f"{message['role']} {name}" if name else str(message["role"]), readable(message)))
    return [*offered, *turns]


def _is_plain(message: Message) -> bool:
    return message.keys() == PLAIN and isinstance(message["content"], str)


def _text_of_content(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, Sequence):
        raise UnreadableMessage("content_not_text", type(content).__name__)
    return "\n".join(map(_text_of_part, content))


def _text_of_part(part: Any) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind in MEDIA_PARTS:
        raise UnreadableMessage("media_content", f"a part of type {kind}")
    text = part.get(TEXT_PARTS[kind]) if kind in TEXT_PARTS else None
    if not isinstance(text, str):
        raise UnreadableMessage("content_not_text", f"a part of type {kind}" if kind else "a part without a type")
    return text


def _readable_part(part: Any) -> str:
    try:
        return _text_of_part(part)
    except UnreadableMessage:
        return f"[{part.get('type') if isinstance(part, Mapping) else 'part'}]"


def _normal_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = _function(call)
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or not name:
        raise UnreadableMessage("tool_arguments", "a call without a function's name")
    if arguments is None or arguments == "":  # as some servers write a call without arguments
        arguments = {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            raise UnreadableMessage("tool_arguments", f"of {name}") from None
    if not isinstance(arguments, Mapping):
        raise UnreadableMessage("tool_arguments", f"of {name}")
    identity = {} if call.get("id") is None else {"id": call["id"]}
    written = json.dumps(arguments, ensure_ascii=False)
    return {**identity, "type": "function", "function": {"name": name, "arguments": written}}


def _normal_tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns a tool with its schema under `function`, where chat templates look for it."""
    if isinstance(tool.get("function"), Mapping):
        return tool
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


def _function(call_or_tool: Mapping[str, Any]) -> Mapping[str, Any]:
    function = call_or_tool.get("function", call_or_tool)
    return function if isinstance(function, Mapping) else {}


def _call_as_text(call: Mapping[str, Any]) -> str:
    function = _function(call)
    arguments = function.get("arguments")
    written = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return f"{function.get('name')}({written})"
