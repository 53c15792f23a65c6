"""The groups of a project's prompts and the conversations that they belong to: placed once, in the order of the log,
and kept."""

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.labels.service import LogTexts
from app.snapshots.prompts import conversations, store
from app.snapshots.prompts.conversations import Link, Linked, Stray
from app.snapshots.prompts.groups import Groups
from app.snapshots.prompts.sides import Sides
from app.snapshots.prompts.split import group_of, key_of

#: Prompts that are placed at a time.
AT_ONCE = 20_000

Prompt = str | list[dict[str, Any]]


def place(session: Session, project: str, watermark: int) -> int:
    """Place the prompts up to `watermark` that were not placed yet; how many were looked at.

    Where a prompt belongs follows from the log up to itself, and from nothing else: however often, and in how many
    parts, this is called. Other calls for the project wait.
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
    placed_now: set[bytes] = set()  # and wherever they come again
    led_now: dict[bytes, bytes] = {}
    while len(prompts):
        said: dict[bytes, str] = {}
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
                    said[key_of(group)] = group
                    content = conversations.links_of(prompt)
                    short[sent] = conversations.is_short(prompt, content)
                    links += content
                    strays += _strays(prompt, content, position)
            key = known[sent]
            if key is not None and links:
                new.append((key, position, links, short[sent], completion_id))
        said = {key: group for key, group in said.items() if key not in placed_now}
        placed_now.update(said)
        keys = list(said)
        before = len(groups)
        leaders = groups.add(list(said.values()), keys)
        led = {key: one for key, one in zip(keys, leaders, strict=True) if one != key}
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
    """The rows of short prompts that this chat began with."""
    if not links:
        return []
    keyed = ((key_of(group_of(first)), answer) for first, answer in conversations.short_beginnings(prompt))
    return [Stray(conversations.row_of_answer(key, answer), key, links[-1].key, position) for key, answer in keyed]


def _link(session: Session, project: str, prompts: list[Linked], strays: list[Stray]) -> None:
    """Join the groups of these prompts, in the order of the log, with those that have the same links."""
    if not prompts:
        return
    counters = {conversations.counter_of(one.leader) for one in prompts for link in one.links if link.kind == "id"}
    links = {link.key for one in prompts for link in one.links}
    known = store.known_links(session, project, links | counters)
    kept = {link: (one.leader, one.joins) for link, one in known.items()}
    leaders = {one.leader for one in prompts} | {one.leader for one in known.values()}
    joins, others = conversations.join(prompts, known, store.joins_of(session, project, leaders))
    changed = {link: one for link, one in known.items() if kept.get(link) != (one.leader, one.joins)}
    store.keep_links(session, project, changed)
    store.keep_joins(session, project, joins)
    store.keep_strays(session, project, [*strays, *others])


def leaders_of(session: Session, project: str, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(P, 2) keys of the prompts that lead the groups of these (P, 2): themselves, but for those that are led."""
    led, leader = (np.frombuffer(said, dtype=np.uint64).reshape(-1, 2) for said in store.led(session, project))
    found = keys.copy()
    if len(led):
        places = {one.tobytes(): place for place, one in enumerate(led)}
        for number, key in enumerate(keys):
            place_of = places.get(key.tobytes())
            if place_of is not None:
                found[number] = leader[place_of]
    return found


def sides_of(session: Session, project: str, watermark: int) -> Sides:
    """On which sides conversations are, as the log up to `watermark` has them."""
    joins = store.joins(session, project, watermark)
    snapshots = store.earlier_snapshots(session, project, watermark)
    return Sides.of(project, joins, snapshots, store.strays(session, project, watermark))


def _group_of(prompt: Prompt) -> str | None:
    """None for prompts that no snapshot has: see `candidates`."""
    if isinstance(prompt, list) and any(message.keys() != {"role", "content"} for message in prompt):
        return None
    return group_of(prompt)
