"""Converts the prompts of OpenAI's requests to those that the log holds. Pure."""

from typing import Any

#: Fields of messages that the log holds.
KEPT = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})
#: Fields of an assistant's earlier message that chat templates leave out, or that say nothing about the text.
LEFT_OUT = frozenset({"reasoning", "reasoning_content", "annotations", "id"})
#: Fields of a request that become a part of what the model reads, and for which the log has no place.
ALSO_READ = (
    "tools", "functions", "documents", "chat_template", "suffix", "echo", "continue_final_message", "prompt_embeds",
)  # fmt: skip


class NotStorable(ValueError):
    """The text says what the log cannot hold."""


def prompt_of(body: Any, index: int, n: int, *, chat: bool) -> str | list[dict[str, Any]]:
    """Returns the prompt of choice `index` of a request for `n` choices a prompt. Raises `NotStorable`."""
    for name in ALSO_READ:
        if body.get(name):
            raise NotStorable(name)
    if chat:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise NotStorable("messages")
        return [_message(message) for message in messages]
    prompt = body.get("prompt")
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str):
        prompt = prompt[index // n] if index // n < len(prompt) else None
    if not isinstance(prompt, str):
        raise NotStorable("a prompt of token ids" if isinstance(prompt, list) else "prompt")
    return prompt


def _message(message: Any) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise NotStorable("messages")
    given = {name: value for name, value in message.items() if value not in (None, [], {}) and name not in LEFT_OUT}
    unknown = given.keys() - KEPT
    if unknown:
        raise NotStorable(f"{min(unknown)} of a message")
    if "content" in given:
        given["content"] = _content(given["content"])
    if "tool_calls" in given:
        given["tool_calls"] = [_without_index(call) for call in given["tool_calls"]]
    return given


def _content(content: Any) -> str:
    """Returns the text of a message. Several parts of text are joined by line feeds, as vLLM does."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise NotStorable("content of a message")
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            kind = part.get("type") if isinstance(part, dict) else None
            raise NotStorable(f"a part of type {kind}")
        texts.append(part["text"])
    return "\n".join(texts)


def _without_index(call: Any) -> Any:
    return {name: value for name, value in call.items() if name != "index"} if isinstance(call, dict) else call
