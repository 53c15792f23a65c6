"""Determines which prompt decides the side of a conversation. Pure.

The hash of its leader decides the side of a single prompt group (`prompts.split`). In a conversation one group's leader
decides for all groups. Joins are applied in the order of the log. When two conversations turn out to be one:

    neither was in a snapshot before    the earlier group decides: no model has seen either
    one was                             its leader goes on deciding: held-out rows stay held out
    both were                           training wins: rows that a model was trained on cannot be held out any more

So only the last case moves rows, always from the holdout into training.

Legend: E joins, N leaders of joined groups, P prompts.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.snapshots.prompts.conversations import Join
from app.snapshots.prompts.split import Side, rank_of, split_of
from app.snapshots.selection.text_keys import numbered


@dataclass(frozen=True)
class Joins:
    """Joins of prompt groups in the order of the log. `leader`, `other`: (E, 2) keys · `position`, `earlier`: (E,), see
    `conversations.Join`."""

    leader: NDArray[np.uint64]
    other: NDArray[np.uint64]
    position: NDArray[np.int64]
    earlier: NDArray[np.int64]

    def followed_by(self, later: Sequence[Join]) -> "Joins":
        """Returns these joins and then the later ones, in the order of the log."""
        if not later:
            return self
        leader, other, position, earlier = zip(*sorted(later, key=_place_in_log), strict=True)
        return Joins(
            np.concatenate([self.leader, _keys(leader)]),
            np.concatenate([self.other, _keys(other)]),
            np.concatenate([self.position, np.array(position, np.int64)]),
            np.concatenate([self.earlier, np.array(earlier, np.int64)]),
        )

    def up_to(self, watermark: int) -> "Joins":
        end = int(np.searchsorted(self.position, watermark, side="right"))
        return Joins(self.leader[:end], self.other[:end], self.position[:end], self.earlier[:end])


def _keys(keys: Iterable[bytes]) -> NDArray[np.uint64]:
    return np.frombuffer(b"".join(keys), np.uint64).reshape(-1, 2)


def _place_in_log(join: Join) -> tuple[int, bytes, bytes]:
    return join.position, join.leader, join.other


@dataclass(frozen=True)
class EarlierSnapshots:
    """Watermarks of earlier snapshots. `by_conversation`: ascending, of those that were split by conversation ·
    `by_prompt`: the latest of those that were split by prompt group alone, or 0."""

    by_conversation: Sequence[int] = ()
    by_prompt: int = 0

    @property
    def latest(self) -> int:
        return max(self.by_prompt, *self.by_conversation, 0)

    def before(self, watermark: int) -> "EarlierSnapshots":
        return EarlierSnapshots([earlier for earlier in self.by_conversation if earlier < watermark], self.by_prompt)


@dataclass(frozen=True)
class Deciding:
    """The deciding leaders. `key`: (N, 2) keys of all joined leaders · `by`: (N, 2) keys of the leaders that decide
    for them · `since`: (N,) position of the first prompt with a link in each leader's group."""

    key: NDArray[np.uint64]
    by: NDArray[np.uint64]
    since: NDArray[np.int64]

    def of(self, leaders: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Returns the (P, 2) keys that decide for the groups of these leaders; leaders without joins decide alone."""
        if not len(self.key):
            return leaders
        number = numbered(np.concatenate([self.key, leaders]))
        index = np.full(int(number.max()) + 1, -1, dtype=np.int64)
        index[number[: len(self.key)]] = np.arange(len(self.key))
        joined = index[number[len(self.key) :]]
        decided: NDArray[np.uint64] = np.where((joined >= 0)[:, None], self.by[joined], leaders)
        return decided


@dataclass(frozen=True)
class Strays:
    """Rows that stay apart from their conversations. `row`: (S, 2) their keys · `prompt`: (S, 2) keys of their prompts
    · `other`: (S, 2) leaders of groups of the conversations."""

    row: NDArray[np.uint64]
    prompt: NDArray[np.uint64]
    other: NDArray[np.uint64]

    def with_more(self, more: Sequence[tuple[bytes, bytes, bytes]]) -> "Strays":
        """Returns these rows and more, each with the keys of its prompt and of the other leader."""
        if not more:
            return self
        row, prompt, other = (_keys(column) for column in zip(*more, strict=True))
        return Strays(*map(np.concatenate, ((self.row, row), (self.prompt, prompt), (self.other, other))))


@dataclass(frozen=True)
class Moved:
    """Prompt groups that changed sides since the previous snapshot. `leader`, `by`: (M, 2) keys."""

    leader: NDArray[np.uint64]
    by: NDArray[np.uint64]
    before: Sequence[Side]
    now: Sequence[Side]


def decide(split_key: str, joins: Joins, snapshots: EarlierSnapshots) -> Deciding:
    """Returns the leaders that decide. The result depends only on joins and snapshots up to the same watermark."""
    number = numbered(np.concatenate([joins.leader, joins.other]))
    count = int(number.max(initial=-1)) + 1
    key = np.empty((count, 2), dtype=np.uint64)
    key[number] = np.concatenate([joins.leader, joins.other])
    since = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(since, number, np.concatenate([joins.position, joins.earlier]))
    parent, first = list(range(count)), since.tolist()
    by = list(range(count))
    bytes_of = [each.tobytes() for each in key]

    def root_of(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def was_in_snapshot(root: int, position: int) -> bool:
        if first[root] <= snapshots.by_prompt:
            return True
        index = bisect_left(snapshots.by_conversation, position)
        return index > 0 and first[root] <= snapshots.by_conversation[index - 1]

    pairs = zip(number[: len(joins.leader)].tolist(), number[len(joins.leader) :].tolist(), strict=True)
    for (leader, other), position in zip(pairs, joins.position.tolist(), strict=True):
        left, right = root_of(leader), root_of(other)
        if left == right:
            continue
        if (first[right], right) < (first[left], left):
            left, right = right, left
        left_was, right_was = was_in_snapshot(left, position), was_in_snapshot(right, position)
        if left_was and right_was:
            by[left] = max(by[left], by[right], key=lambda node: (rank_of(split_key, bytes_of[node]), node))
        elif right_was:
            by[left] = by[right]
        first[left] = min(first[left], first[right])
        parent[right] = left
    decided = [by[root_of(node)] for node in range(count)]
    return Deciding(key, key[decided], since)


@dataclass(frozen=True)
class Sides:
    """The leaders that decide now, and the joins and snapshots that determine them."""

    joins: Joins
    snapshots: EarlierSnapshots
    strays: Strays
    now: Deciding

    @staticmethod
    def of(split_key: str, joins: Joins, snapshots: EarlierSnapshots, strays: Strays) -> "Sides":
        return Sides(joins, snapshots, strays, decide(split_key, joins, snapshots))

    def astray(self, split_key: str, leaders: NDArray[np.uint64], holdout_share: float) -> dict[bytes, set[bytes]]:
        """Returns, by the key of their prompt, the keys of rows whose conversation is on the other side.

        leaders  (S, 2) of the strays' prompts
        """
        own, other = self.now.of(leaders), self.now.of(self.strays.other)
        rows: dict[bytes, set[bytes]] = {}
        for row, prompt, here, there in zip(self.strays.row, self.strays.prompt, own, other, strict=True):
            sides = {split_of(split_key, key.tobytes(), holdout_share) for key in (here, there)}
            if len(sides) > 1:
                rows.setdefault(prompt.tobytes(), set()).add(row.tobytes())
        return rows

    def moved(self, split_key: str, holdout_share: float) -> Moved:
        """Returns the groups that were on the other side in the previous snapshot, at the same holdout share."""
        latest = self.snapshots.latest
        there = self.now.since <= latest
        key, by = self.now.key[there], self.now.by[there]
        by_then = key
        if latest > self.snapshots.by_prompt:
            by_then = decide(split_key, self.joins.up_to(latest), self.snapshots.before(latest)).of(key)
        before, after = (
            np.array([split_of(split_key, each.tobytes(), holdout_share) for each in keys], dtype=str)
            for keys in (by_then, by)
        )
        other = before != after
        return Moved(key[other], by[other], before[other].tolist(), after[other].tolist())
