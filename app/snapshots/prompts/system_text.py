"""What a prompt says, apart from what the system tells the model. Pure."""

import json
from typing import NamedTuple

#: Of the texts of chats, as `app.snapshots.prompts.split.group_of` writes them.
_CHAT = '[["'
#: Roles whose messages instruct the model.
INSTRUCTING = ("system", "developer")


class Spoken(NamedTuple):
    said: str
    system: str


def spoken(text: str) -> Spoken:
    """Of a prompt as `app.snapshots.prompts.split.group_of` gives it: the messages of each kind, one after another."""
    if not text.startswith(_CHAT):
        return Spoken(text, "")
    try:
        messages = [(str(role), str(content)) for role, content in json.loads(text)]
    except (ValueError, TypeError, RecursionError):
        return Spoken(text, "")  # a text that only begins like a chat
    said = "\n".join(content for role, content in messages if role not in INSTRUCTING)
    return Spoken(said, "\n".join(content for role, content in messages if role in INSTRUCTING))
