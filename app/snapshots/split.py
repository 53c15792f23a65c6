"""Which rows are held out. Pure.

The split belongs to the prompt: all rows whose prompts say the same are on one side, and stay there for ever, in every
snapshot of the project. Nothing else has a say: no seed, no time, no neighbour.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Literal

from app.labels.guards.text import normalised

#: *later*: held out because it was said of late, where the rules ask for that; kept apart from the holdout.
Split = Literal["train", "holdout", "later"]

#: Changing it moves rows between the sides: a model would then be scored on what it was trained on.
_KEY = b"thumbwheel holdout 1"


def group_of(prompt: str | Sequence[Mapping[str, str]]) -> str:
    """The prompt without what doesn't matter: Unicode forms, case, spaces. A chat of one user message is its text."""
    if isinstance(prompt, str):
        return normalised(prompt)
    if len(prompt) == 1 and prompt[0]["role"] == "user":
        return normalised(prompt[0]["content"])
    messages = [[message["role"], normalised(message["content"])] for message in prompt]
    return json.dumps(messages, ensure_ascii=False)


def key_of(group: str) -> bytes:
    """16 bytes that stand for what `group_of` gives."""
    return hashlib.blake2b(group.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def split_of(project: str, key: bytes, holdout_share: float) -> Literal["train", "holdout"]:
    """The side of the group that is led by the prompt of this key. A larger share moves groups into the holdout, and
    none out of it."""
    digest = hashlib.sha256(b"\0".join((_KEY, project.encode(), key))).digest()
    return "holdout" if int.from_bytes(digest[:8], "big") < holdout_share * 2**64 else "train"
