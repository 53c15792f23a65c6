"""Decides which rows are held out. Pure.

The split belongs to the prompt group and its conversation (`prompts.sides`): all rows of a conversation are on one side
and stay there, in every snapshot of the project. It does not depend on a seed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Literal

from app.labels.guards.text import normalised

#: *later*: held out for being recent, if the rules require that; kept apart from the holdout.
Split = Literal["train", "holdout", "later"]
Side = Literal["train", "holdout"]

#: A change of this key moves rows between the sides: a model would then be scored on its own training rows.
_KEY = b"thumbwheel holdout 1"


def group_of(prompt: str | Sequence[Mapping[str, str]]) -> str:
    """Returns the prompt with normalised Unicode, case and spaces. A chat of one user message becomes its text."""
    if isinstance(prompt, str):
        return normalised(prompt)
    if len(prompt) == 1 and prompt[0]["role"] == "user":
        return normalised(prompt[0]["content"])
    messages = [[message["role"], normalised(message["content"])] for message in prompt]
    return json.dumps(messages, ensure_ascii=False)


def key_of(group: str) -> bytes:
    """Returns the hash, of 16 bytes, of a text from `group_of`."""
    return hashlib.blake2b(group.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def rank_of(project: str, key: bytes) -> int:
    """Returns a rank of 64 bits; groups are held out in the order of their leaders' ranks up to the holdout share."""
    digest = hashlib.sha256(b"\0".join((_KEY, project.encode(), key))).digest()
    return int.from_bytes(digest[:8], "big")


def split_of(project: str, key: bytes, holdout_share: float) -> Side:
    """Returns the side of the groups for which the prompt of this key decides. A larger share moves groups into the
    holdout, and none out of it."""
    return "holdout" if rank_of(project, key) < holdout_share * 2**64 else "train"
