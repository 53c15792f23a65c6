"""Reads prompts and answers that are texts or chat messages, and refuses what an event cannot hold. Pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from thumbwheel import chat_messages
from thumbwheel.chat_messages import REASONING, UnreadableMessage, normal_message, with_messages
from thumbwheel.row_checks import RowFault, is_invisible, lost_in_message, lost_in_row

from app.feedback.importing.drafts import Body, Faulty, Row, SaysNothing

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
#: Names of roles in ShareGPT, LLaMA-Factory and ms-swift.
ROLES = {"human": "user", "gpt": "assistant", "observation": "tool", "tool_response": "tool"}
#: Roles of turns whose content is a tool call as JSON, as LLaMA-Factory and ms-swift write it.
CALLING = ("function_call", "tool_call")
#: Fields of a message that make it more than its text.
MORE = ("tool_calls", *REASONING)
#: Fields that may be null. Ids are derived from messages, so they stay as they are.
_NULLABLE = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})


def completion_id_of(prompt: Any, answer: Any) -> str:
    """Derives a completion id, which rows lack: votes on the same answer to the same prompt share one completion."""
    return "imported-" + hashlib.sha256(_ENCODER.encode([prompt, answer]).encode()).hexdigest()[:32]


def body_of(prompt: Any, completion: Any, signal: Body) -> Body:
    """Returns the body of an event with its texts."""
    texts = texts_of(prompt, completion)
    return {"completion_id": completion_id_of(texts["prompt"], completion), **texts, "signal": signal}


def texts_of(prompt: Any, completion: Any) -> Body:
    """Returns prompt and completion as a part of a body. A text before a message becomes a message, too."""
    return {"prompt": _as_chat(prompt) if isinstance(completion, Mapping) else prompt, "completion": completion}


def preference_of(prompt: Any, chosen: Any, rejected: Any, *, tie: bool = False) -> Body:
    """Returns the body of a preference; an empty rejected answer, which cannot be trained on, is left out."""
    if tie and (_is_more(rejected) or not (_is_more(chosen) or _says_something(chosen, "the first answer"))):
        chosen, rejected = rejected, chosen
    better, worse = answer_of(chosen, "the preferred answer"), text_of(rejected, "the other answer", empty=True)
    if better == worse:
        raise SaysNothing("both answers are the same text")
    prompt = texts_of(prompt, better)["prompt"]
    signal: Body = {"kind": "preference", "rejected_completion_id": completion_id_of(prompt, worse)}
    if _is_visible(worse):
        signal["rejected"] = worse
    if tie:
        signal["tie"] = True
    return body_of(prompt, better, signal)


def prompt_of(row: Row, name: str = "prompt", system: Any = None) -> Any:
    """Returns the prompt of a row, with its tools. A system text beside a text makes messages of both."""
    prompt = row.get(name)
    if prompt is None:
        raise Faulty(f"{name} is missing")
    messages = messages_of(prompt) if isinstance(prompt, list) else prompt
    return with_tools(with_system(system, messages), row)


def with_system(system: Any, prompt: Any) -> Any:
    """Returns the prompt after a message of the system; unchanged if `system` is empty."""
    if system is None or system == "":
        return prompt
    if not isinstance(system, str):
        raise Faulty(f"system is {json.dumps(system, default=str)[:60]}: must be a text")
    chat = _as_chat(prompt)
    return with_messages(chat, [{"role": "system", "content": system}, *chat_messages.messages_of(chat)])


def with_tools(prompt: Any, row: Row) -> Any:
    """Returns the prompt with the tools that the row offers."""
    tools = row.get("tools")
    if isinstance(tools, str):
        try:
            tools = json.loads(tools) if tools.strip() else None
        except (ValueError, RecursionError):
            raise Faulty("tools is a text that is not JSON: write a list of JSON schemas") from None
    if not tools:
        return prompt
    if not isinstance(tools, list):
        raise Faulty(f"tools is {json.dumps(tools)[:60]}: must be a list of JSON schemas")
    return {"messages": list(chat_messages.messages_of(_as_chat(prompt))), "tools": tools}


def messages_of(prompt: list[Any]) -> list[Any]:
    """Returns the messages of a prompt as the API takes them. Raises `Faulty` for fields that would get lost."""
    for message in prompt:
        if isinstance(message, dict):
            require_nothing_lost(message, "prompt")
    return [_message(message) if isinstance(message, dict) else message for message in prompt]


def _message(message: Row) -> Row:
    """Returns a message with the API's names of roles, and without other fields that are null."""
    role = message.get("role")
    if role in CALLING:
        return {"role": "assistant", "tool_calls": _calls_in(message.get("content"))}
    given = {name: value for name, value in message.items() if value is not None or name in _NULLABLE}
    if "thinking" in given:
        given.setdefault("reasoning_content", given.pop("thinking"))
    return {**given, "role": ROLES.get(role, role)} if isinstance(role, str) else given


def _calls_in(text: Any) -> list[Body]:
    """Returns the tool calls that a turn holds as JSON: an object with name and arguments, or a list of them."""
    try:
        calls = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        calls = None
    calls = calls if isinstance(calls, list) else [calls]
    if not calls or not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        raise Faulty("a turn that calls a tool is no JSON object with name and arguments")
    functions = [{"name": call["name"], "arguments": call.get("arguments") or {}} for call in calls]
    return [{"type": "function", "function": function} for function in functions]


def answer_of(answer: Any, name: str) -> Any:
    """Returns the text of an answer, or its message if that has tool calls, reasoning or parts."""
    if not _is_more(answer):
        return text_of(answer, name)
    [message] = answer if isinstance(answer, list) else [answer]
    require_nothing_lost(message, name)
    return _message(message)


def _is_more(answer: Any) -> bool:
    """Returns whether an answer is one message that is more than its text."""
    [message] = answer if isinstance(answer, list) and len(answer) == 1 else [answer]
    if not isinstance(message, dict):
        return False
    return any(map(message.get, MORE)) or isinstance(message.get("content"), list) or message.get("role") in CALLING


def text_of(answer: Any, name: str, *, empty: bool = False) -> str:
    """Returns the text of an answer that is a string or one message of the assistant; `empty` permits an empty text."""
    if answer is None:
        raise Faulty(f"{name} is missing")
    if isinstance(answer, list | dict):
        answer = _text_of_message([answer] if isinstance(answer, dict) else answer, name)
    if not isinstance(answer, str):
        raise Faulty(f"{name} must be a text or exactly one message of the assistant with a text")
    if empty and not _is_visible(answer):
        return answer
    if not answer.strip():
        raise Faulty(f"{name} is empty")
    if is_invisible(answer):
        raise Faulty(f"{name}: {RowFault('invisible_answer').sentence}")
    return answer


def _text_of_message(answer: list[Any], name: str) -> Any:
    if len(answer) != 1 or not isinstance(answer[0], dict):
        raise Faulty(f"{name} must be a text or exactly one message of the assistant")
    message = _message(answer[0])
    if message.get("role") != "assistant":
        raise Faulty(f"{name} must be a text or exactly one message of the assistant")
    require_nothing_lost(answer[0], name)
    if more := [field for field in MORE if (message if field == "tool_calls" else answer[0]).get(field)]:
        raise Faulty(f"{name} has {', '.join(more)}: only a text can stand here")
    if not isinstance(message.get("content"), list):
        return message.get("content")
    try:
        return normal_message(message)["content"]
    except UnreadableMessage as unreadable:
        raise Faulty(f"{name}: {RowFault(unreadable.reason, unreadable.detail).sentence}") from None


def last_answer(messages: Any, name: str = "messages") -> tuple[list[Any], Any]:
    """Splits a conversation into the messages of the prompt and the assistant's last answer."""
    if not isinstance(messages, list) or len(messages) < 2:
        raise Faulty(f"{name} must be a list of at least two messages, of which the last is the assistant's")
    return messages_of(messages[:-1]), answer_of(messages[-1:], f"the last of the {name}")


def first_of(fields: Row, names: tuple[str, ...], what: str) -> Any:
    """Returns the first of the named fields that has a value, or else one that is empty. Raises `Faulty`."""
    given = [fields[name] for name in names if fields.get(name) is not None]
    if not given:
        raise Faulty(f"there is no field for the {what}: {', '.join(names)}")
    return next((value for value in given if value not in ("", [])), given[0])


def require_row_complete(row: Row) -> None:
    """Raises `Faulty` if the row has columns that a model should read but that are not in its texts."""
    if (fault := lost_in_row(row)) is not None:
        raise Faulty(fault.sentence)


def require_nothing_lost(message: Mapping[str, Any], name: str) -> None:
    if (fault := lost_in_message(message)) is not None:
        raise Faulty(f"{name}: {fault.sentence}")


def _as_chat(prompt: Any) -> Any:
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    if not isinstance(prompt["messages"] if isinstance(prompt, dict) and "messages" in prompt else prompt, list):
        raise Faulty("the prompt is neither a text nor a list of messages")
    return prompt


def _says_something(answer: Any, name: str) -> bool:
    return _is_visible(text_of(answer, name, empty=True))


def _is_visible(answer: str) -> bool:
    return bool(answer.strip()) and not is_invisible(answer)
