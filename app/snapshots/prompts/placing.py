"""Places prompts in groups, in the order of the log, and collects the rows to store about them. Pure."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pyarrow as pa
from thumbwheel.chat_messages import UnreadableMessage, normal_prompt

from app.snapshots.prompts import conversations
from app.snapshots.prompts.conversations import Join, Known, Link, Linked, Stray
from app.snapshots.prompts.groups import Groups
from app.snapshots.prompts.split import group_of, key_of


@dataclass
class NewRows:
    """The rows about placed prompts that are not stored yet.

    prompts  the number of prompts that were placed
    leaders  the new leaders as tables of `groups.LEADERS`, each with the number of its first one
    led      the other new prompts, with the leaders of their groups
    links    links and counters that are new or have joined more groups
    strays   by row
    """

    prompts: int = 0
    leaders: list[tuple[int, pa.Table]] = field(default_factory=list)
    led: dict[bytes, bytes] = field(default_factory=dict)
    links: dict[bytes, Known] = field(default_factory=dict)
    joins: list[Join] = field(default_factory=list)
    strays: dict[bytes, Stray] = field(default_factory=dict)

    def add(self, later: "NewRows") -> None:
        """Adds the rows about later prompts."""
        self.prompts += later.prompts
        self.leaders += later.leaders
        self.led |= later.led
        self.links |= later.links
        self.joins += later.joins
        self.add_strays(later.strays.values())

    def add_strays(self, strays: Iterable[Stray]) -> None:
        """Adds strays. The first one of each row stays."""
        for stray in strays:
            self.strays.setdefault(stray.row, stray)


class Placing:
    """Places prompts in groups, some at a time."""

    def __init__(self, leaders: pa.Table) -> None:
        self._groups = Groups()
        self._groups.load(leaders)
        self._placed: set[bytes] = set()  # so that a prompt that comes again is not placed again
        self._led: dict[bytes, bytes] = {}

    def place(self, prompts: pa.Table) -> tuple[NewRows, list[Linked]]:
        """Places the next prompts of the log: columns position, prompt (JSON text), conversation_id, completion_id.

        Returns the rows about them, and the prompts with links, whose groups are still to be joined.
        """
        texts_of_groups: dict[bytes, str] = {}
        new: list[tuple[bytes, int, list[Link], bool, str]] = []
        known: dict[str, bytes | None] = {}
        short: dict[str, bool] = {}
        rows = NewRows(prompts=len(prompts))
        for position, sent, conversation_id, completion_id in _rows(prompts):
            links = [] if conversation_id is None else [conversations.link_of_id(conversation_id)]
            if sent not in known:
                known[sent] = None
                with suppress(UnreadableMessage):  # no snapshot can have such a prompt: see `TextCollector`
                    prompt = normal_prompt(msgspec.json.decode(sent))
                    group = group_of(prompt)
                    known[sent] = key_of(group)
                    texts_of_groups[key_of(group)] = group
                    content = conversations.links_of(prompt)
                    short[sent] = conversations.is_short(prompt, content)
                    links += content
                    rows.add_strays(_strays(prompt, content, position))
            key = known[sent]
            if key is not None and links:
                new.append((key, position, links, short[sent], completion_id))
        texts_of_groups = {key: group for key, group in texts_of_groups.items() if key not in self._placed}
        self._placed.update(texts_of_groups)
        keys = list(texts_of_groups)
        before = len(self._groups)
        leaders = self._groups.add(list(texts_of_groups.values()), keys)
        rows.led = {key: leader for key, leader in zip(keys, leaders, strict=True) if leader != key}
        rows.leaders = [(before, self._groups.rows())]
        self._led |= rows.led
        linked = [
            Linked(self._led.get(key, key), position, links, key, is_short, completion_id)
            for key, position, links, is_short, completion_id in new
        ]
        return rows, linked


def _rows(prompts: pa.Table) -> Iterable[tuple[int, str, str | None, str]]:
    names = ("position", "prompt", "conversation_id", "completion_id")
    return zip(*(prompts[name].to_pylist() for name in names), strict=True)


def _strays(prompt: Any, links: list[Link], position: int) -> list[Stray]:
    """Returns the rows of short prompts with which this chat began."""
    if not links:
        return []
    keyed = ((key_of(group_of(first)), answer) for first, answer in conversations.short_beginnings(prompt))
    return [Stray(conversations.row_of_answer(key, answer), key, links[-1].key, position) for key, answer in keyed]
