"""Shortens prompts and completions for previews and explanations. Pure."""

from typing import Any, NamedTuple

from thumbwheel.chat_messages import messages_of, readable

SHOWN_CHARACTERS = 240


class CompletionTexts(NamedTuple):
    """The texts of a completion and its prompt."""

    prompt: Any
    completion: str | None


def shortened(text: str | None) -> str | None:
    """Returns the text on one line, cut after `SHOWN_CHARACTERS`."""
    if text is None:
        return None
    line = " ".join(text.strip()[: 4 * SHOWN_CHARACTERS].split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"


def last_text(prompt: Any) -> str | None:
    """Returns the prompt's text; for messages, the text of the last one that has any."""
    if prompt is None or isinstance(prompt, str):
        return prompt
    texts = (readable(message) for message in reversed(messages_of(prompt)) if isinstance(message, dict))
    return next(filter(None, texts), None)
