"""The blocks that open-webui writes into the text of an answer: reasoning, tool calls, code that was run. Pure."""

import html
import json
import re
from typing import Any

from thumbwheel.row_checks import RowFault

from app.feedback.importing.drafts import Body, Faulty

_BLOCK = re.compile(r'<details type="(reasoning|tool_calls|code_interpreter)"([^>]*)>(.*?)</details>\s*', re.DOTALL)
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
_SUMMARY = re.compile(r"<summary>.*?</summary>", re.DOTALL)


def without_blocks(content: str) -> str:
    """Returns the text as a model reads it in later turns, where open-webui takes the blocks out."""
    return _BLOCK.sub("", content)


def messages_in(content: str) -> list[Body]:
    """Returns the messages of the assistant and of tools that an answer is, in their order; the last is the answer.

    Raises `Faulty` for a block that no message can hold.
    """
    messages: list[Body] = []
    texts: list[str] = []
    thoughts: list[str] = []
    end = 0
    for block in _BLOCK.finditer(content):
        texts.append(content[end : block.start()])
        end = block.end()
        kind, attributes, inside = block.groups()
        if kind == "code_interpreter":
            raise Faulty(f"the answer: {RowFault('lost_fields', kind).sentence}")
        if kind == "reasoning":
            thoughts.append(_thought(inside))
            continue
        call, result = _call_and_result(dict(_ATTRIBUTE.findall(attributes)))
        messages += [{**_message(texts, thoughts), "tool_calls": [call]}, result]
        texts, thoughts = [], []
    texts.append(content[end:])
    return [*messages, _message(texts, thoughts)]


def _message(texts: list[str], thoughts: list[str]) -> Body:
    reasoning = "\n".join(thoughts)
    content = "".join(texts)
    return {"role": "assistant", "content": content, **({"reasoning_content": reasoning} if reasoning else {})}


def _thought(inside: str) -> str:
    """Returns the text of reasoning, which open-webui writes as an escaped quotation."""
    lines = html.unescape(_SUMMARY.sub("", inside)).strip().splitlines()
    return "\n".join(line.removeprefix(">").removeprefix(" ") for line in lines)


def _call_and_result(attributes: dict[str, str]) -> tuple[Body, Body]:
    name = html.unescape(attributes.get("name", ""))
    if not name:
        raise Faulty("the answer has a tool call without the name of a function")
    arguments = _decoded(attributes.get("arguments", ""))
    result = _decoded(attributes.get("result", ""))
    identity = html.unescape(attributes.get("id", ""))
    call: Body = {"type": "function", "function": {"name": name, "arguments": arguments or {}}}
    answer: Body = {
        "role": "tool",
        "content": result if isinstance(result, str) else json.dumps(result, ensure_ascii=False),
    }
    if identity:
        call["id"], answer["tool_call_id"] = identity, identity
    return call, answer


def _decoded(attribute: str) -> Any:
    text = html.unescape(attribute)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
