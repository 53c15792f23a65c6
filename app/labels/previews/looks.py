"""Prompts and completions as previews and explanations show them. Pure."""

from typing import Any, NamedTuple

SHOWN_CHARACTERS = 240


class Look(NamedTuple):
    """What a completion looks like."""

    prompt: Any
    completion: str | None


def shortened(text: str | None) -> str | None:
    """On one line, cut where it is long."""
    if text is None:
        return None
    line = " ".join(text.strip()[: 4 * SHOWN_CHARACTERS].split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"


def last_text(prompt: Any) -> str | None:
    """Of messages, the content of the last one that has any."""
    if prompt is None or isinstance(prompt, str):
        return prompt
    contents = [message.get("content") for message in prompt if isinstance(message, dict)]
    return next((content for content in reversed(contents) if isinstance(content, str) and content), None)
