"""Places a project's prompts in groups and conversations, once for each prompt and in the order of the log, and stores
the result."""

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.feedback.reading.service import LogTexts
from app.snapshots.prompts import conversations, store
from app.snapshots.prompts.conversations import Link, Linked, Stray
from app.snapshots.prompts.groups import Groups
from app.snapshots.prompts.sides import Sides
from app.snapshots.prompts.split import group_of, key_of

#: Prompts that are placed at a time.
AT_ONCE = 20_000

Prompt = str | list[dict[str, Any]]


def place(session: Session, project: str, watermark: int) -> int:
    """Places the prompts up to `watermark` that are not placed yet. Returns the number of prompts that were read.

    A prompt's group follows from the log up to the prompt alone, not from the number of calls or their watermarks.
    Other calls for the project wait.
    """
    if store.placed(session, project) >= watermark:
        return 0
    placed = store.lock_placed(session, project)
    texts = LogTexts(session, project, watermark)
    prompts = texts.prompts_after(placed, AT_ONCE)
    looked_at = len(prompts)
    if looked_at:
        groups = Groups()
        groups.load(store.leaders(session, project))
    placed_now: set[bytes] = set()  # so that a prompt that comes again is not placed again
    led_now: dict[bytes, bytes] = {}
    while len(prompts):
        texts_of_groups: dict[bytes, str] = {}
        new: list[tuple[bytes, int, list[Link], bool, str]] = []
        known: dict[str, bytes | None] = {}
        short: dict[str, bool] = {}
        strays: list[Stray] = []
        for position, sent, conversation_id, completion_id in _rows(prompts):
            links = [] if conversation_id is None else [conversations.link_of_id(conversation_id)]
            if sent not in known:
                prompt = msgspec.json.decode(sent)
                group = _group_of(prompt)
                known[sent] = None if group is None else key_of(group)
                if group is not None:
                    texts_of_groups[key_of(group)] = group
                    content = conversations.links_of(prompt)
                    short[sent] = conversations.is_short(prompt, content)
                    links += content
                    strays += _strays(prompt, content, position)
            key = known[sent]
            if key is not None and links:
                new.append((key, position, links, short[sent], completion_id))
        texts_of_groups = {key: group for key, group in texts_of_groups.items() if key not in placed_now}
        placed_now.update(texts_of_groups)
        keys = list(texts_of_groups)
        before = len(groups)
        leaders = groups.add(list(texts_of_groups.values()), keys)
        led = {key: leader for key, leader in zip(keys, leaders, strict=True) if leader != key}
        led_now |= led
        store.add_leaders(session, project, groups.rows(), before)
        store.add_led(session, project, led)
        linked = [
            Linked(led_now.get(key, key), position, links, key, is_short, completion_id)
            for key, position, links, is_short, completion_id in new
        ]
        _link(session, project, linked, strays)
        placed = prompts["position"][-1].as_py()
        prompts = texts.prompts_after(placed, AT_ONCE)
        looked_at += len(prompts)
    store.place_up_to(session, project, watermark)
    return looked_at


def _rows(prompts: pa.Table) -> Iterable[tuple[int, str, str | None, str]]:
    names = ("position", "prompt", "conversation_id", "completion_id")
    return zip(*(prompts[name].to_pylist() for name in names), strict=True)


def _strays(prompt: Prompt, links: list[Link], position: int) -> list[Stray]:
    """Returns the rows of short prompts with which this chat began."""
    if not links:
        return []
    keyed = ((key_of(group_of(first)), answer) for first, answer in conversations.short_beginnings(prompt))
    return [Stray(conversations.row_of_answer(key, answer), key, links[-1].key, position) for key, answer in keyed]


def _link(session: Session, project: str, prompts: list[Linked], strays: list[Stray]) -> None:
    """Joins the groups of these prompts, given in the order of the log, with the groups that have the same links."""
    if not prompts:
        return
    counters = {
        conversations.counter_of(prompt.leader) for prompt in prompts for link in prompt.links if link.kind == "id"
    }
    links = {link.key for prompt in prompts for link in prompt.links}
    known = store.known_links(session, project, links | counters)
    stored = {link: (first.leader, first.joins) for link, first in known.items()}
    leaders = {prompt.leader for prompt in prompts} | {first.leader for first in known.values()}
    joins, others = conversations.join(prompts, known, store.joins_of(session, project, leaders))
    changed = {link: first for link, first in known.items() if stored.get(link) != (first.leader, first.joins)}
    store.keep_links(session, project, changed)
    store.keep_joins(session, project, joins)
    store.keep_strays(session, project, [*strays, *others])


def leaders_of(session: Session, project: str, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns the (P, 2) keys of the leaders of these (P, 2) prompts; a prompt without another leader leads itself."""
    led, leader = (np.frombuffer(column, dtype=np.uint64).reshape(-1, 2) for column in store.led(session, project))
    leaders = keys.copy()
    if len(led):
        index_of = {key.tobytes(): index for index, key in enumerate(led)}
        for number, key in enumerate(keys):
            index = index_of.get(key.tobytes())
            if index is not None:
                leaders[number] = leader[index]
    return leaders


def sides_of(session: Session, project: str, watermark: int) -> Sides:
    """Returns the sides of the conversations according to the log up to `watermark`."""
    joins = store.joins(session, project, watermark)
    snapshots = store.earlier_snapshots(session, project, watermark)
    return Sides.of(project, joins, snapshots, store.strays(session, project, watermark))


def _group_of(prompt: Prompt) -> str | None:
    """Returns the group text of a prompt, or None for one that no snapshot can have: see `text_keys.TextCollector`."""
    if isinstance(prompt, list) and any(message.keys() != {"role", "content"} for message in prompt):
        return None
    return group_of(prompt)
