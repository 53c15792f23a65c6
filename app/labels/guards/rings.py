"""Actors who judge the same completions in the same way. Pure.

Which pairs are compared: of each actor the completions that the fewest judged come first. Two whose overlap is *o* or
more have two in common among the first n - ⌈o·n⌉ + 2 of each (prefix filtering: Bayardo, Ma and Srikant, WWW 2007;
Wang, Li and Feng, SIGMOD 2012, for more than one), so that hardly anybody else is looked at, and no n² pairs arise. A
completion that more than `CROWD` actors judged brings nobody together, and is no evidence either: it is shown to
everybody.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from thumbwheel import wire

from app.labels.guards import chance
from app.labels.guards.portions import blocks, by_actors, counted, counted_up, of_votes, parts

CROWD = 100
#: Completions that two must have in common at the head of their lists to be compared. No rule asks for fewer.
SHARED = 2
#: So many completions are named with a finding.
EXAMPLES = 5

Numbers = NDArray[np.int64]
Small = NDArray[np.uint32]
Flags = NDArray[np.bool_]


def rings(votes: pl.DataFrame, rule: wire.guard_rules.Ring) -> pl.DataFrame:
    """Each actor of a ring: together, overlap and agreement with the partner most alike, and the others of the ring.

    votes  one row of each actor and what was judged, a completion or two that were compared: judged UInt32, actor
           UInt32, desirable Boolean

    A ring is `rule.actors` or more that are linked by pairs. A pair is linked where the rule's three figures hold and
    chance does not explain as many common votes as it has (`_Pairs.surprise`), with the bound over all pairs of actors.
    """
    said = _Votes.of(votes)
    return _found(said, _linked(said, _candidates(said, rule), rule), rule.actors)


@dataclass(frozen=True)
class _Votes:
    """Votes ordered by actor and completion; `begin`, `count` by actor."""

    completion: Small
    desirable: Flags
    begin: Numbers
    count: Numbers
    voters: Small  # by completion
    ups: Small  # by completion
    share: float  # of desirable ones

    @classmethod
    def of(cls, votes: pl.DataFrame) -> "_Votes":
        completion, desirable = np.empty(len(votes), np.uint32), np.empty(len(votes), np.bool_)
        count = counted(votes["actor"]).astype(np.int64)
        end = 0
        for part in by_actors(votes.select("actor", "judged", "desirable"), count, "judged"):
            begin, end = end, end + len(part)
            completion[begin:end], desirable[begin:end] = part["judged"].to_numpy(), part["desirable"].to_numpy()
        return cls(
            completion=completion,
            desirable=desirable,
            begin=np.cumsum(count) - count,
            count=count,
            voters=counted(votes["judged"]),
            ups=counted(votes["judged"], votes["desirable"]),
            share=np.count_nonzero(desirable) / max(len(desirable), 1),
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

    def only(self, which: Flags | Numbers) -> "_Pairs":
        return _Pairs(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    @classmethod
    def joined(cls, several: "list[_Pairs]") -> "_Pairs":
        """By first, then by second."""
        whole = cls(*(np.concatenate([getattr(one, name) for one in several]) for name in cls.__dataclass_fields__))
        return whole.only(np.lexsort((whole.second, whole.first)))


def _candidates(said: _Votes, rule: wire.guard_rules.Ring) -> Numbers:
    """Pairs that may be alike enough, each as second · actors + first, ascending."""
    actors = len(said.count)
    by_rank = np.argsort(said.count, kind="stable")  # who has fewer votes is the first of a pair
    heads = _heads(said, rule, by_rank)
    completion, rank = (heads >> np.uint64(32)).astype(np.uint32), heads.astype(np.uint32)
    del heads
    after = _after(completion)
    of_rank = said.count[by_rank]
    found = [np.empty(0, np.int64)]
    sizes = np.zeros(actors, np.int64)
    for block in blocks(len(rank)):
        np.add.at(sizes, rank[block], after[block].astype(np.int64))
    for begin, end in parts(sizes):
        left = np.flatnonzero((rank >= begin) & (rank < end) & (after > 0))
        pairs, times = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for start, stop in parts(after[left]):
            some = left[start:stop]
            many = after[some].astype(np.int64)
            some = np.repeat(some, many)
            first = rank[some].astype(np.int64)
            second = rank[some + 1 + counted_up(many)].astype(np.int64)
            alike = of_rank[first] >= rule.overlap * of_rank[second] - 1e-9
            pair, often = np.unique(first[alike] * actors + second[alike], return_counts=True)
            pairs.append(pair)
            times.append(often)
        pair, place = np.unique(np.concatenate(pairs), return_inverse=True)
        first, second = np.divmod(pair[np.bincount(place, np.concatenate(times), len(pair)) >= SHARED], actors)
        found.append(by_rank[second] * actors + by_rank[first])
    candidates = np.concatenate(found)
    candidates.sort()
    return candidates


def _heads(said: _Votes, rule: wire.guard_rules.Ring, by_rank: Numbers) -> NDArray[np.uint64]:
    """The heads of the actors' lists, without what brings nobody together: completion · 2³² + rank, ascending."""
    rank = np.empty(len(by_rank), np.uint64)
    rank[by_rank] = np.arange(len(by_rank), dtype=np.uint64)
    needed = np.maximum(np.ceil(rule.overlap * said.count - 1e-9).astype(np.int64), rule.together)
    length = np.where(said.count >= rule.together, said.count - needed + SHARED, 0)
    heads = np.empty(len(said), np.uint64)  # as many as there could be: pages that nothing is written to cost nothing
    size = 0
    for begin, end in parts(said.count, of_votes(len(said))):
        actor = np.flatnonzero(said.count[begin:end]) + begin
        count = said.count[actor]
        completion = said.completion[said.begin[actor[0]] :][: count.sum()]
        voters = np.minimum(said.voters[completion], CROWD + 1).astype(np.uint64)  # in 7 bits; the actors are the rest
        rarest = np.repeat(np.arange(len(actor), dtype=np.uint64) << np.uint64(39), count)
        rarest |= voters << np.uint64(32) | completion
        rarest.sort()
        voters = rarest >> np.uint64(32) & np.uint64(0x7F)
        head = (counted_up(count) < np.repeat(length[actor], count)) & (voters > 1) & (voters <= CROWD)
        some = rarest[head] << np.uint64(32) | np.repeat(rank[actor], count)[head]
        heads[size : size + len(some)] = some
        size += len(some)
    heads = heads[:size]
    heads.sort()
    return heads


def _after(block: Small) -> NDArray[np.uint8]:
    """How many come after each in the same block, of `CROWD` at most; `block` ascends."""
    begins = np.flatnonzero(np.diff(block, prepend=block[:1] + np.uint32(1))).astype(np.uint32)
    sizes = np.diff(begins, append=np.uint32(len(block)))
    ends = np.repeat(begins + sizes, sizes)
    ends -= np.arange(1, len(block) + 1, dtype=np.uint32)
    return ends.astype(np.uint8)


def _linked(said: _Votes, candidates: Numbers, rule: wire.guard_rules.Ring) -> _Pairs:
    """Those candidates that the rule and chance leave, with their figures."""
    actors = np.count_nonzero(said.count)
    limit = chance.MILLION + np.log(max(actors * (actors - 1) / 2, 1.0))
    second, first = np.divmod(candidates, max(len(said.count), 1))
    # Of each second one list is looked up however many firsts it has.
    sizes = said.count[first] + np.where(np.diff(second, prepend=-1) > 0, said.count[second], 0)
    linked = [_compared(said, second[:0], second[:0])]
    for begin, end in parts(sizes):
        pairs = _compared(said, first[begin:end], second[begin:end])
        meets = (
            (pairs.together >= rule.together)
            & (pairs.overlap >= rule.overlap)
            & (pairs.agreement >= rule.agreement)
            & (pairs.surprise > limit)
        )
        linked.append(pairs.only(meets))
    return _Pairs.joined(linked)


def _compared(said: _Votes, first: Numbers, second: Numbers) -> _Pairs:
    """Each pair with its figures; `second` ascends."""
    together, agreed, expected = _in_common(said, first, second)
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
    row = _rows(said, first)
    completion, verdict = said.completion[row], said.desirable[row]
    both, theirs = _looked_up(said, completion, second, pair)
    alike = both & (theirs == verdict)
    voters, ups = said.voters[completion].astype(np.int64), said.ups[completion].astype(np.int64)
    others = voters - 1 - both
    same = np.where(verdict, ups, voters - ups) - 1 - alike
    mine = said.count[second][pair]
    elsewhere = len(said) - said.count[first][pair] - mine + 1
    judges = np.where(others >= CROWD, 1.0, np.minimum(mine * (others + 1) / elsewhere, 1.0))
    agrees = (same + np.where(verdict, said.share, 1 - said.share)) / (others + 1)
    return (
        np.bincount(pair[both], minlength=len(first)),
        np.bincount(pair[alike], minlength=len(first)),
        np.bincount(pair, judges * agrees, minlength=len(first)).astype(np.float64),
    )


def _looked_up(said: _Votes, completion: Small, second: Numbers, pair: Numbers) -> tuple[Flags, Flags]:
    """Whether the second of each pair judged the completion, and what it said where it did."""
    begins = np.diff(second, prepend=-1) > 0
    judge = second[begins]
    row = _rows(said, judge)
    # Actor and completion in one number; actors are numbered anew.
    many = len(said.voters)
    keys = np.repeat(np.arange(len(judge)) * many, said.count[judge]) + said.completion[row]
    wanted = ((np.cumsum(begins) - 1) * many)[pair] + completion
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return keys[place] == wanted, said.desirable[row[place]]


def _rows(said: _Votes, actors: Numbers) -> Numbers:
    """Of the votes of each, one after the other."""
    count = said.count[actors]
    return np.repeat(said.begin[actors], count) + counted_up(count)


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
