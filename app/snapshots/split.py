"""Which rows are held out. Pure.

The split belongs to the prompt: all rows whose prompts say the same are on one side, and stay there for ever, in every
snapshot of the project. Nothing else has a say: no seed, no time, no neighbour.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Literal

from app.labels.guards.text import normalised

Split = Literal["train", "holdout"]

#: Changing it moves rows between the sides: a model would then be scored on what it was trained on.
_KEY = "thumbwheel holdout 1"


def group_of(prompt: str | Sequence[Mapping[str, str]]) -> str:
    """The prompt without what doesn't matter: Unicode forms, case, spaces. A chat of one user message is its text."""
    if isinstance(prompt, str):
        return normalised(prompt)
    if len(prompt) == 1 and prompt[0]["role"] == "user":
        return normalised(prompt[0]["content"])
    messages = [[message["role"], normalised(message["content"])] for message in prompt]
    return json.dumps(messages, ensure_ascii=False)


def split_of(project: str, group: str, holdout_share: float) -> Split:
    """The group's side. A larger share moves groups into the holdout, and none out of it."""
    digest = hashlib.sha256("\0".join((_KEY, project, group)).encode()).digest()
    return "holdout" if int.from_bytes(digest[:8], "big") < holdout_share * 2**64 else "train"
