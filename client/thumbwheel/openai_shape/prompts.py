"""Converts the prompts of OpenAI's requests to those that the log holds. Pure."""

from typing import Any

#: Fields of an assistant's earlier message that no chat template reads.
LEFT_OUT = frozenset({"annotations", "id"})
#: Fields of a message of which one must be there; servers read a message without any as an empty text.
SAID = frozenset({"content", "tool_calls", "refusal"})
#: Fields of a request that become a part of what the model reads, and for which the log has no place.
ALSO_READ = (
    "functions", "documents", "chat_template", "suffix", "echo", "continue_final_message", "prompt_embeds",
)  # fmt: skip


class NotStorable(ValueError):
    """The text says what the log cannot hold."""


def prompt_of(body: Any, index: int, n: int, *, chat: bool) -> str | list[dict[str, Any]] | dict[str, Any]:
    """Returns the prompt of choice `index` of a request for `n` choices a prompt. Raises `NotStorable`."""
    for name in ALSO_READ:
        if body.get(name):
            raise NotStorable(name)
    return _chat(body) if chat else _text(body.get("prompt"), index // n)


def _chat(body: Any) -> list[dict[str, Any]] | dict[str, Any]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise NotStorable("messages")
    kept = [_message(message) for message in messages]
    return {"messages": kept, "tools": body["tools"]} if body.get("tools") else kept


def _text(prompt: Any, place: int) -> str:
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str):
        prompt = prompt[place] if place < len(prompt) else None
    if not isinstance(prompt, str):
        raise NotStorable("a prompt of token ids" if isinstance(prompt, list) else "prompt")
    return prompt


def _message(message: Any) -> dict[str, Any]:
    """Returns a message as it was sent, without what is unset, or belongs to OpenAI's answers alone."""
    if not isinstance(message, dict):
        raise NotStorable("messages")
    given = {name: value for name, value in message.items() if value not in (None, "", [], {}) and name not in LEFT_OUT}
    if isinstance(given.get("tool_calls"), list):
        given["tool_calls"] = [_without_index(call) for call in given["tool_calls"]]
    return given if given.keys() & SAID else {**given, "content": ""}


def _without_index(call: Any) -> Any:
    return {name: value for name, value in call.items() if name != "index"} if isinstance(call, dict) else call
