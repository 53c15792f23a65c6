"""Copies of a conversation with marks in its tools, tool calls and reasoning, to see what a chat template writes. Pure.

A mark is a character that no text of the conversation has: see `chat_template`. A template has written a tool or a call
if its rendering contains the mark in the function's name and those in the names of the call's arguments.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Message = Mapping[str, Any]


class Marked(NamedTuple):
    """`reasons`: by mark, the reason for which a row is dropped whose rendering lacks it, and the detail."""

    messages: list[Message]
    tools: list[Mapping[str, Any]]
    reasons: dict[str, tuple[str, str]]


def rendered_form(message: Message) -> Message:
    """Returns a message as chat templates take it: the arguments of tool calls are objects, and reasoning has both of
    its names, as vLLM passes them."""
    if "reasoning_content" in message:
        message = {**message, "reasoning": message["reasoning_content"]}
    if "tool_calls" not in message:
        return message
    return {**message, "tool_calls": [_with_object(call) for call in message["tool_calls"]]}


def marked(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], unused: Iterator[str]) -> Marked | None:
    """Returns the conversation with marks in all tools and calls; None if it has neither.

    messages  in the form that templates take
    unused    characters that the conversation does not have
    """
    reasons: dict[str, tuple[str, str]] = {}

    def mark(reason: str, detail: str) -> str:
        character = next(unused)
        reasons[character] = reason, detail
        return character

    def call(original: Mapping[str, Any]) -> Mapping[str, Any]:
        name = original["function"]["name"]
        of_name = name + mark("template_drops_tool_calls", f"the call of {name}")
        arguments = {
            key + mark("template_drops_tool_calls", f"{key} of {name}"): value
            for key, value in original["function"]["arguments"].items()
        }
        return {**original, "function": {"name": of_name, "arguments": arguments}}

    def tool(original: Mapping[str, Any]) -> Mapping[str, Any]:
        function = original["function"]
        return {**original, "function": {**function, "name": function["name"] + mark("template_drops_tools", "")}}

    def message(original: Message) -> Message:
        calls = original.get("tool_calls", ())
        return {**original, "tool_calls": [call(each) for each in calls]} if calls else original

    marked_tools, with_marks = [tool(each) for each in tools], [message(each) for each in messages]
    return Marked(with_marks, marked_tools, reasons) if reasons else None


def answer_texts(message: Message) -> list[str]:
    """Returns the texts of an answer that its author chose: content, reasoning, and of calls the names and arguments.

    message  in its normal form
    """
    calls = (call["function"] for call in message.get("tool_calls", ()))
    written = [text for call in calls for text in (call["name"], call["arguments"])]
    return [message["content"], message.get("reasoning_content", ""), *written]


def _with_object(call: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
