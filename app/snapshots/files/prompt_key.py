"""The name of a prompt's content, by which its rows and samples are found. Pure."""

import hashlib
import json
from typing import Any


def prompt_json(prompt: Any) -> str:
    """Returns the prompt, a text or a list of messages, as JSON; equal prompts give equal JSON."""
    return json.dumps(prompt, sort_keys=True, ensure_ascii=False)


def prompt_key(prompt: Any) -> bytes:
    return hashlib.sha256(prompt_json(prompt).encode()).digest()[:16]
