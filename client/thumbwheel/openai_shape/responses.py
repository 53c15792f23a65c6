"""Requests and answers of OpenAI's Responses API as prompts and outputs in the shape of its chats. Pure."""

from collections.abc import Mapping
from typing import Any

from thumbwheel.openai_shape.outputs import WrittenOutput
from thumbwheel.openai_shape.prompts import NotStorable

#: Fields of a request by which the model reads what the request does not hold.
READ_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
#: Reasons for which an answer is incomplete, as finish reasons of chats.
FINISH_REASONS = {"max_output_tokens": "length"}


def prompt_of_response(body: Mapping[str, Any]) -> list[dict[str, Any]] | dict[str, Any]:
    """Returns the prompt of a request. Raises `NotStorable`."""
    for name in READ_ELSEWHERE:
        if body.get(name):
            raise NotStorable(name)
    messages: list[dict[str, Any]] = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    given = body.get("input")
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given or ():
        _add_item(item, messages)
    if not messages:
        raise NotStorable("input")
    tools = body.get("tools")
    if any(tool.get("type") != "function" for tool in tools or ()):
        raise NotStorable("tools")
    return {"messages": messages, "tools": tools} if tools else messages


def output_of_response(response: Mapping[str, Any]) -> WrittenOutput:
    """Returns what was written for a whole answer, as a single choice."""
    output = WrittenOutput()
    for place, item in enumerate(response.get("output") or ()):
        match item.get("type"):
            case "message":
                for part in item.get("content") or ():
                    output.add_message({"content": part.get("text"), "refusal": part.get("refusal")})
            case "function_call":
                output.add_message({"tool_calls": [{**_call(item), "index": place}]})
            case "reasoning":
                for part in item.get("content") or ():
                    output.add_message({"reasoning_content": part.get("text")})
            case _:  # the model has read what another tool found, which the answer does not hold
                output.give_up("unsupported_content")
    reason = (response.get("incomplete_details") or {}).get("reason") or "stop"
    output.finish_reason = FINISH_REASONS.get(reason, reason)
    return output


def _add_item(item: Mapping[str, Any], messages: list[dict[str, Any]]) -> None:
    match item.get("type", "message"):
        case "message":
            messages.append({"role": item.get("role"), "content": item.get("content")})
        case "function_call":  # the calls of one turn are one message
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant"})
            messages[-1].setdefault("tool_calls", []).append(_call(item))
        case "function_call_output":
            messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")})
        case "reasoning":
            pass  # a summary, or encrypted
        case kind:
            raise NotStorable(f"an item of type {kind}")


def _call(item: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    return {"id": item.get("call_id"), "type": "function", "function": function}
