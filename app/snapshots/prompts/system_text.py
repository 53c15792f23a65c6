"""Separates a prompt from the instructions of its system messages. Pure."""

import json
from typing import NamedTuple

#: The beginning of a chat's text, as `app.snapshots.prompts.split.group_of` writes it.
_CHAT = '[["'
#: Roles whose messages instruct the model.
INSTRUCTING = ("system", "developer")


class Spoken(NamedTuple):
    said: str
    system: str


def spoken(text: str) -> Spoken:
    """Returns the messages of a text from `app.snapshots.prompts.split.group_of`, joined by lines: those of the system
    apart from the others."""
    if not text.startswith(_CHAT):
        return Spoken(text, "")
    try:
        messages = [(str(role), str(content)) for role, content in json.loads(text)]
    except (ValueError, TypeError, RecursionError):
        return Spoken(text, "")  # a text that only begins like a chat
    content_of_turns = "\n".join(content for role, content in messages if role not in INSTRUCTING)
    return Spoken(content_of_turns, "\n".join(content for role, content in messages if role in INSTRUCTING))
