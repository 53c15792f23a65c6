"""Shortens prompts and completions for previews and explanations. Pure."""

from typing import Any, NamedTuple

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
    """Returns the prompt's text; for messages, the content of the last one that has text."""
    if prompt is None or isinstance(prompt, str):
        return prompt
    contents = [message.get("content") for message in prompt if isinstance(message, dict)]
    return next((content for content in reversed(contents) if isinstance(content, str) and content), None)
