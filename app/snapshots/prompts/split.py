"""Decides which rows are held out. Pure.

The split belongs to the prompt group and its conversation (`prompts.sides`): all rows of a conversation are on one side
and stay there, in every snapshot of the project. It depends on the project's split key, and on no seed.
"""

import hashlib
import json
from typing import Any, Literal

from thumbwheel.chat_messages import messages_of, text_of, tools_of

from app.labels.guards.text import normalised

#: *later*: held out for being recent, if the rules require that; kept apart from the holdout.
Split = Literal["train", "holdout", "later"]
Side = Literal["train", "holdout"]

#: A change of this key moves rows between the sides: a model would then be scored on its own training rows.
_KEY = b"thumbwheel holdout 1"


def group_of(prompt: Any) -> str:
    """Returns the prompt, in its normal form, with normalised Unicode, case and spaces. A chat of one user message
    becomes its text. Tools count as instructions; ids of tool calls, reasoning and names of people do not count."""
    if isinstance(prompt, str):
        return normalised(prompt)
    messages, tools = messages_of(prompt), tools_of(prompt)
    if len(messages) == 1 and messages[0]["role"] == "user" and not tools:
        return normalised(messages[0]["content"])
    turns = [[message["role"], normalised(text_of(message))] for message in messages]
    if tools:
        turns.insert(0, ["system", normalised(json.dumps(tools, sort_keys=True, ensure_ascii=False))])
    return json.dumps(turns, ensure_ascii=False)


def key_of(group: str) -> bytes:
    """Returns the hash, of 16 bytes, of a text from `group_of`."""
    return hashlib.blake2b(group.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def rank_of(split_key: str, key: bytes) -> int:
    """Returns a rank of 64 bits; groups are held out in the order of their leaders' ranks up to the holdout share."""
    digest = hashlib.sha256(b"\0".join((_KEY, split_key.encode(), key))).digest()
    return int.from_bytes(digest[:8], "big")


def split_of(split_key: str, key: bytes, holdout_share: float) -> Side:
    """Returns the side of the groups for which the prompt of this key decides. A larger share moves groups into the
    holdout, and none out of it."""
    return "holdout" if rank_of(split_key, key) < holdout_share * 2**64 else "train"
