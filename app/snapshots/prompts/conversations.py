"""Finds the prompts that belong to one conversation. Pure.

A conversation is given by its id, or derived: prompts that share a *link* are turns of one conversation. A link is a
hash of 16 bytes of one of these, instructions to the model left out:

    id        the conversation id that came with the prompt
    opening   the first message of the user, of at least `OPENING` characters
    run       neighbouring messages that have at least `RUN` characters together, and `REST` without the longest of
              them: the shortest run from each message on. A run has at least two messages, so one is the assistant's

The turns of a growing chat share the runs of the turns before, and so do the windows of a chat that is sent without its
beginning. Roles do not matter. The links of a prompt follow from the prompt alone, so the order of arrival does not
matter either. Short messages ("hi", "thanks") are no links, and a link that has joined `MOST_JOINS` prompt groups joins
no more: by then it is a stock phrase, such as a suggested question with its usual answer. The same holds for a prompt
group that was sent in `MOST_JOINS` conversations with ids. Joined groups stay joined.

A prompt that is too short for a link ("hi"), or that more conversations share than it may join, stays a group of its
own. The row then shows which conversation it belongs to: by its completion's id, or by its answer, with which the
conversation goes on. Such *strays* are stored, so that a row whose conversation is on the other side can be left out.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from thumbwheel.chat_messages import messages_of, text_of, with_messages

from app.labels.guards.text import normalised
from app.snapshots.prompts.system_text import INSTRUCTING
from app.snapshots.prompts.transcripts import turns_of_text

OPENING, RUN, REST = 24, 64, 16
MOST_JOINS = 200
LINK_BYTES = 16

Kind = Literal["id", "content"]


class Link(NamedTuple):
    kind: Kind
    key: bytes


class Linked(NamedTuple):
    """A prompt with its links: `leader` is the key of its group's leader, `position` its place in the log.

    prompt         its own key
    is_short       whether it is too short for a link
    completion_id  id of the completion that it was sent with
    """

    leader: bytes
    position: int
    links: Sequence[Link]
    prompt: bytes = b""
    is_short: bool = False
    completion_id: str = ""


class Stray(NamedTuple):
    """A row whose prompt group is not joined with the row's conversation.

    row     key of the row: `row_of_answer` or `row_of_completion`
    prompt  key of its prompt
    link    a link of its conversation
    """

    row: bytes
    prompt: bytes
    link: bytes
    position: int


@dataclass
class Known:
    """A stored link: the leader that had it first, its position, and the number of groups that it has joined."""

    leader: bytes
    position: int
    joins: int = 0


class Join(NamedTuple):
    """Two leaders of prompt groups whose prompts belong to one conversation.

    leader    leader of the later prompt, which is at `position`
    other     leader of the earlier prompt, which is at `earlier`
    """

    leader: bytes
    other: bytes
    position: int
    earlier: int


def spoken_turns(prompt: Any) -> list[str]:
    """Returns the normalised text of each turn of a prompt, without instructions; an empty list for a text that is no
    transcript."""
    if isinstance(prompt, str):
        turns = [(turn.role, turn.text) for turn in turns_of_text(prompt)]
    else:
        turns = [(message["role"], text_of(message)) for message in messages_of(prompt)]
    return [normalised(text) for role, text in turns if role not in INSTRUCTING]


def links_of(prompt: Any) -> list[Link]:
    """Returns the links of a prompt's content."""
    turns = spoken_turns(prompt)
    if not turns:
        return []
    links = [Link("content", _hash("opening", turns[:1]))] if len(turns[0]) >= OPENING else []
    lengths = [len(turn) for turn in turns]
    for start in range(len(turns) - 1):
        total, longest = lengths[start], lengths[start]
        for end in range(start + 1, len(turns)):
            total, longest = total + lengths[end], max(longest, lengths[end])
            if total >= RUN and total - longest >= REST:
                links.append(Link("content", _hash("run", turns[start : end + 1])))
                break
    return links


def link_of_id(conversation_id: str) -> Link:
    return Link("id", _hash("id", [conversation_id]))


def is_short(prompt: Any, links: Sequence[Link]) -> bool:
    """Returns whether a prompt is too short for a link. `links`: the links of its content."""
    return not links and (not isinstance(prompt, str) or len(prompt) < OPENING)


def short_beginnings(prompt: Any) -> Iterator[tuple[Any, str]]:
    """Yields the earlier prompts of a chat that are too short for a link, and the answers that followed them."""
    if isinstance(prompt, str):
        return
    messages = messages_of(prompt)
    for number, message in enumerate(messages):
        if number and message["role"] == "assistant":
            beginning = with_messages(prompt, messages[:number])
            if links_of(beginning):
                return
            yield beginning, text_of(message)


def row_of_answer(prompt: bytes, answer: str) -> bytes:
    """Returns the key of the rows with this answer to the prompt of this key."""
    return _hash("answer", [prompt.hex(), normalised(answer)])


def row_of_completion(completion_id: str) -> bytes:
    """Returns the key of the rows of a completion."""
    return _hash("completion", [completion_id])


def counter_of(leader: bytes) -> bytes:
    """Returns the key under which the conversations with ids that a prompt group has joined are counted."""
    return hashlib.blake2b(b"ids of " + leader, digest_size=LINK_BYTES).digest()


def join(
    prompts: Iterable[Linked], known: dict[bytes, Known], joined: set[tuple[bytes, bytes]]
) -> tuple[list[Join], list[Stray]]:
    """Returns the joins that the links of prompts make, and the rows that stay apart. Prompts are in the order of the
    log.

    known   the stored links and counters; is updated, and gets the new ones
    joined  (leader, other) of the stored joins of these leaders and of those in `known`; gets the new ones

    Leaders that are already joined through another leader are not joined again: a growing chat has one join a turn.
    """
    joins: list[Join] = []
    strays: list[Stray] = []
    for leader, position, links, prompt, short, completion_id in prompts:
        reached = {leader}
        for link in reversed(links):
            counter = known.get(counter_of(leader)) if link.kind == "id" else None
            if link.kind == "id" and (short or (counter is not None and counter.joins >= MOST_JOINS)):
                strays.append(Stray(row_of_completion(completion_id), prompt, link.key, position))
                continue
            first = known.get(link.key)
            if first is None:
                known[link.key] = Known(leader, position)
                if link.kind == "id":
                    _count(known, leader, position)
                continue
            other = first.leader
            if other in reached:
                continue
            if any((source, other) in joined for source in reached):
                reached.add(other)
                continue
            if first.joins >= MOST_JOINS:
                continue
            if link.kind == "id":
                _count(known, leader, position)
            first.joins += 1
            joined.add((leader, other))
            reached.add(other)
            joins.append(Join(leader, other, position, first.position))
    return joins, strays


def _count(known: dict[bytes, Known], leader: bytes, position: int) -> None:
    known.setdefault(counter_of(leader), Known(leader, position)).joins += 1


def _hash(kind: str, turns: Sequence[str]) -> bytes:
    text = json.dumps([kind, *turns], ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=LINK_BYTES).digest()
