"""The rated messages of topical_chat, their labels, and the conversations that they belong to.

The chat partner rated each message from 1 to 5. It is desirable at 5, and undesirable at or below the threshold of the
label policy; what lies between has no label. A conversation is in one of `PARTS` parts by a hash of its id, with all
its messages.
"""

import gzip
import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

FILE = Path("events") / "topical_chat_ratings.jsonl.gz"
PARTS = 10
DESIRABLE = 5

Message = dict[str, str]  # role, content


@dataclass(frozen=True)
class Rated:
    """A message with the ones before it; the user is the partner who rated it, the assistant its author."""

    conversation: str
    turn: int
    prompt: tuple[Message, ...]
    completion: str
    label: bool | None


def read(data: Path, undesirable: int, most: int | None = None) -> list[Rated]:
    """Returns the rated messages in the order of the file, the first `most` of them.

    undesirable   highest rating of an undesirable message
    """
    with gzip.open(data / FILE, "rt", encoding="utf-8") as lines:
        return [_rated(json.loads(line), undesirable) for line in islice(lines, most)]


def part_of(conversation: str) -> int:
    return int.from_bytes(hashlib.sha256(conversation.encode()).digest()[:8]) % PARTS


def split(rated: Sequence[Rated], held_out: Collection[int]) -> tuple[list[Rated], list[Rated]]:
    """Returns the messages of the other parts, and those of the parts `held_out`."""
    sides: tuple[list[Rated], list[Rated]] = ([], [])
    for message in rated:
        sides[part_of(message.conversation) in held_out].append(message)
    return sides


def write_rows(path: Path, rated: Sequence[Rated]) -> None:
    """Writes the messages that have a label as rows for `thumbwheel train`."""
    lines = (
        json.dumps(
            {
                "prompt": message.prompt,
                "completion": [{"role": "assistant", "content": message.completion}],
                "label": message.label,
            },
            ensure_ascii=False,
        )
        for message in rated
        if message.label is not None
    )
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def texts(rated: Sequence[Rated]) -> list[list[str]]:
    """Returns each conversation's messages in their order, with those that no one rated."""
    by_conversation: dict[str, dict[int, str]] = {}
    for message in rated:
        turns = by_conversation.setdefault(message.conversation, {})
        turns[message.turn] = message.completion
        for back, before in enumerate(reversed(message.prompt), start=1):
            turns.setdefault(message.turn - back, before["content"])
    return [[turns[turn] for turn in sorted(turns)] for turns in by_conversation.values()]


def _rated(event: dict[str, Any], undesirable: int) -> Rated:
    rating = event["rating"]
    label = True if rating >= DESIRABLE else False if rating <= undesirable else None
    conversation = event["id"].rpartition("-")[0]
    return Rated(conversation, event["meta"]["turn"], tuple(event["prompt"]), event["completion"], label)
