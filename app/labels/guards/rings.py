"""Actors who judge the same completions in the same way. Pure.

Which pairs are compared: of each actor the completions that the fewest judged come first. Two whose overlap is *o* or
more have two in common among the first n - ⌈o·n⌉ + 2 of each (prefix filtering: Bayardo, Ma and Srikant, WWW 2007;
Wang, Li and Feng, SIGMOD 2012, for more than one), so that hardly anybody else is looked at, and no n² pairs arise. A
completion that more than `CROWD` actors judged brings nobody together, and is no evidence either: it is shown to
everybody.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from thumbwheel import wire

from app.labels.guards import chance

CROWD = 100
#: Completions that two must have in common at the head of their lists to be compared. No rule asks for fewer.
SHARED = 2
#: Pairs, and votes of pairs, that are in memory at once.
AT_ONCE = 1_000_000
#: So many completions are named with a finding.
EXAMPLES = 5

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]


def rings(votes: pl.DataFrame, rule: wire.policies.Ring) -> pl.DataFrame:
    """Each actor of a ring: together, overlap and agreement with the partner most alike, and the others of the ring.

    votes  one row of each actor and completion: completion UInt32, actor UInt32, desirable Boolean

    A ring is `rule.actors` or more that are linked by pairs. A pair is linked where the rule's three figures hold and
    chance does not explain as many common votes as it has (`_Pairs.surprise`), with the bound over all pairs of actors.
    """
    said = _Votes.of(votes)
    pairs = _compared(said, _candidates(said, rule))
    actors = float(np.count_nonzero(said.count))
    limit = chance.MILLION + np.log(max(actors * (actors - 1) / 2, 1.0))
    linked = (
        (pairs.together >= rule.together)
        & (pairs.overlap >= rule.overlap)
        & (pairs.agreement >= rule.agreement)
        & (pairs.surprise > limit)
    )
    return _found(said, pairs.only(linked), rule.actors)


@dataclass(frozen=True)
class _Votes:
    """Votes ordered by actor and completion, `key` is both in one number; `begin`, `count` by actor."""

    completion: Numbers
    desirable: Flags
    key: Numbers
    begin: Numbers
    count: Numbers
    voters: Numbers  # by completion
    ups: Numbers  # by completion

    @classmethod
    def of(cls, votes: pl.DataFrame) -> "_Votes":
        ordered = votes.select("actor", "completion", "desirable").sort("actor", "completion")
        actor = ordered["actor"].to_numpy().astype(np.int64)
        completion = ordered["completion"].to_numpy().astype(np.int64)
        desirable = ordered["desirable"].to_numpy()
        completions = int(completion.max(initial=-1)) + 1
        count = np.bincount(actor)
        return cls(
            completion=completion,
            desirable=desirable,
            key=actor * completions + completion,
            begin=np.cumsum(count) - count,
            count=count,
            voters=np.bincount(completion, minlength=completions),
            ups=np.bincount(completion[desirable], minlength=completions),
        )

    def __len__(self) -> int:
        return len(self.completion)


@dataclass(frozen=True)
class _Pairs:
    """`first` has no more votes than `second`."""

    first: Numbers
    second: Numbers
    together: Numbers
    overlap: NDArray[np.float64]
    agreement: NDArray[np.float64]
    surprise: NDArray[np.float64]

    def only(self, which: Flags) -> "_Pairs":
        return _Pairs(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def _candidates(said: _Votes, rule: wire.policies.Ring) -> Numbers:
    """Pairs that may be alike enough, each as first · actors + second, ascending."""
    actor = np.repeat(np.arange(len(said.count)), said.count)
    needed = np.maximum(np.ceil(rule.overlap * said.count - 1e-9).astype(np.int64), rule.together)
    within = said.count[actor] >= rule.together
    rows = np.flatnonzero(within)
    rarest_first = np.empty(len(said.voters), np.int64)
    rarest_first[np.argsort(said.voters, kind="stable")] = np.arange(len(said.voters))
    rows = rows[np.argsort(actor[rows] * len(said.voters) + rarest_first[said.completion[rows]])]
    place = np.arange(len(rows)) - np.searchsorted(actor[rows], actor[rows])
    rows = rows[place < (said.count - needed)[actor[rows]] + SHARED]
    rows = rows[(said.voters[said.completion[rows]] > 1) & (said.voters[said.completion[rows]] <= CROWD)]
    rows = rows[np.argsort(said.completion[rows] * len(said.count) + actor[rows])]
    found, times = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for left, right in _pairs_within(said.completion[rows]):
        one, other = actor[rows[left]], actor[rows[right]]
        swap = said.count[one] > said.count[other]
        first, second = np.where(swap, other, one), np.where(swap, one, other)
        alike = said.count[first] >= rule.overlap * said.count[second] - 1e-9
        pair, often = np.unique(first[alike] * len(said.count) + second[alike], return_counts=True)
        found.append(pair)
        times.append(often)
    pairs, place = np.unique(np.concatenate(found), return_inverse=True)
    return pairs[np.bincount(place, np.concatenate(times), minlength=len(pairs)) >= SHARED]


def _pairs_within(block: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
    """Places of all pairs in the same block, in parts of about `AT_ONCE`; `block` ascends."""
    place = np.arange(len(block))
    after = np.searchsorted(block, block, side="right") - place - 1
    for begin, end in _parts(after):
        left = np.repeat(place[begin:end], after[begin:end])
        yield left, left + 1 + _counted_up(after[begin:end])


def _compared(said: _Votes, candidates: Numbers) -> _Pairs:
    """Each candidate with its figures."""
    first, second = np.divmod(candidates, max(len(said.count), 1))
    together = np.zeros(len(candidates), np.int64)
    agreed = np.zeros(len(candidates), np.int64)
    expected = np.zeros(len(candidates))
    for begin, end in _parts(said.count[first]):
        part = _in_common(said, first[begin:end], second[begin:end])
        together[begin:end], agreed[begin:end], expected[begin:end] = part
    either = said.count[first] + said.count[second] - together
    return _Pairs(
        first=first,
        second=second,
        together=together,
        overlap=together / either,
        agreement=agreed / np.maximum(together, 1),
        surprise=chance.more_than(agreed.astype(np.float64), expected),
    )


def _in_common(said: _Votes, first: Numbers, second: Numbers) -> tuple[Numbers, Numbers, NDArray[np.float64]]:
    """Of each pair: completions that both judged, those that they judged alike, and how many would be so by chance.

    By chance the second judges a completion of the first as often as all others do: its votes times the share that the
    completion has in the votes of the others. It says what the first said as often as the others say that of this
    completion. One vote is added to theirs, so that what nobody else judged is not impossible.
    """
    pair = np.repeat(np.arange(len(first)), said.count[first])
    row = said.begin[first][pair] + _counted_up(said.count[first])
    completion, verdict = said.completion[row], said.desirable[row]
    wanted = second[pair] * len(said.voters) + completion
    place = np.minimum(np.searchsorted(said.key, wanted), len(said.key) - 1)
    both = said.key[place] == wanted
    alike = both & (said.desirable[place] == verdict)
    others = said.voters[completion] - 1 - both
    same = np.where(verdict, said.ups[completion], said.voters[completion] - said.ups[completion]) - 1 - alike
    ups = said.desirable.mean()
    mine = said.count[second][pair]
    elsewhere = len(said) - said.count[first][pair] - mine + 1
    judges = np.where(others >= CROWD, 1.0, np.minimum(mine * (others + 1) / elsewhere, 1.0))
    agrees = (same + np.where(verdict, ups, 1 - ups)) / (others + 1)
    return (
        np.bincount(pair[both], minlength=len(first)),
        np.bincount(pair[alike], minlength=len(first)),
        np.bincount(pair, judges * agrees, minlength=len(first)).astype(np.float64),
    )


def _found(said: _Votes, pairs: _Pairs, least: int) -> pl.DataFrame:
    """A row for each actor of a ring of `least` or more."""
    partners: dict[int, list[int]] = {}
    for number, (one, other) in enumerate(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)):
        partners.setdefault(one, []).append(number)
        partners.setdefault(other, []).append(number)
    rows = []
    for ring in _components(pairs):
        if len(ring) < least:
            continue
        for actor in ring:
            best = max(partners[actor], key=lambda number: (pairs.overlap[number], pairs.agreement[number], -number))
            partner = int(pairs.second[best] if pairs.first[best] == actor else pairs.first[best])
            rows.append(
                {
                    "actor": actor,
                    "rule": "ring",
                    "votes": int(said.count[actor]),
                    "together": int(pairs.together[best]),
                    "overlap": float(pairs.overlap[best]),
                    "agreement": float(pairs.agreement[best]),
                    "ring": [other for other in ring if other != actor],
                    "examples": _common(said, actor, partner)[:EXAMPLES],
                }
            )
    return pl.DataFrame(rows, schema_overrides={"rule": pl.String})


def _components(pairs: _Pairs) -> list[list[int]]:
    """Actors that are linked, also by way of others; each ascending, by their first."""
    leader: dict[int, int] = {}

    def of(actor: int) -> int:
        root = actor
        while leader.setdefault(root, root) != root:
            root = leader[root]
        while leader[actor] != root:
            leader[actor], actor = root, leader[actor]
        return root

    for one, other in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        low, high = sorted((of(one), of(other)))
        leader[high] = low
    groups: dict[int, list[int]] = {}
    for actor in sorted(leader):
        groups.setdefault(of(actor), []).append(actor)
    return list(groups.values())


def _common(said: _Votes, one: int, other: int) -> list[int]:
    first, second = (
        said.completion[said.begin[actor] : said.begin[actor] + said.count[actor]] for actor in (one, other)
    )
    common: list[int] = np.intersect1d(first, second, assume_unique=True).tolist()
    return common


def _counted_up(counts: Numbers) -> Numbers:
    """0 … n-1 for each n of `counts`."""
    ends = np.cumsum(counts)
    return np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)


def _parts(sizes: Numbers) -> Iterator[tuple[int, int]]:
    """Begin and end of parts whose sizes add up to about `AT_ONCE`."""
    if not len(sizes):
        return
    part = np.cumsum(sizes) // AT_ONCE
    begins = np.flatnonzero(np.diff(part, prepend=-1)).tolist()
    yield from zip(begins, [*begins[1:], len(sizes)], strict=True)
