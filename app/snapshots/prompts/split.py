"""Which rows are held out. Pure.

The split belongs to the prompt group and its conversation (`prompts.sides`): all rows of a conversation are on
one side and stay there, in every snapshot of the project. No seed has a say.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Literal

from app.labels.guards.text import normalised

#: *later*: held out because it was said of late, where the rules ask for that; kept apart from the holdout.
Split = Literal["train", "holdout", "later"]
Side = Literal["train", "holdout"]

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


def rank_of(project: str, key: bytes) -> int:
    """Returns 64 bits: groups are held out in the order of their leaders' ranks, up to the share that is wanted."""
    digest = hashlib.sha256(b"\0".join((_KEY, project.encode(), key))).digest()
    return int.from_bytes(digest[:8], "big")


def split_of(project: str, key: bytes, holdout_share: float) -> Side:
    """The side of the groups for which the prompt of this key decides. A larger share moves groups into the holdout,
    and none out of it."""
    return "holdout" if rank_of(project, key) < holdout_share * 2**64 else "train"
