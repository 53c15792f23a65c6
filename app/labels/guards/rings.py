"""Detects rings: actors who judge the same completions in the same way. Pure.

Prefix filtering decides which pairs are compared (Bayardo, Ma and Srikant, WWW 2007; Wang, Li and Feng, SIGMOD 2012,
for more than one common element). The completions of each actor are sorted, those with the fewest judges first. Two
actors whose overlap is *o* or more have two completions in common among the first n - ⌈o·n⌉ + 2 of each, so that hardly
any other pair is examined, and no n² pairs arise. A completion that more than `CROWD` actors judged makes no pair, and
is no evidence either: it is shown to everybody.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from thumbwheel import wire

from app.labels.guards import chance
from app.labels.guards.portions import blocks, by_actors, counted, counted_up, of_votes, parts

CROWD = 100
#: Completions that two actors must have in common at the head of their lists to be compared. No rule allows fewer.
SHARED = 2
#: The number of completions that a finding lists.
EXAMPLES = 5

Numbers = NDArray[np.int64]
Small = NDArray[np.uint32]
Flags = NDArray[np.bool_]


def rings(votes: pl.DataFrame, rule: wire.guard_rules.Ring) -> pl.DataFrame:
    """Returns each actor of a ring: the figures with the most similar partner, and the other members.

    votes  one row for each actor and judged completion or compared pair: judged, actor UInt32 · desirable Boolean

    A ring is `rule.actors` or more actors linked by pairs. A pair is linked if it meets the rule's three figures and
    chance does not explain its number of equal votes (`_Pairs.surprise`), with the bound over all pairs of actors.
    """
    ordered = _Votes.of(votes)
    return _findings(ordered, _linked(ordered, _candidates(ordered, rule), rule), rule.actors)


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
    """Pairs of actors with their figures. `first` has no more votes than `second`."""

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
        """Returns all pairs, ordered by first, then by second."""
        whole = cls(*(np.concatenate([getattr(part, name) for part in several]) for name in cls.__dataclass_fields__))
        return whole.only(np.lexsort((whole.second, whole.first)))


def _candidates(votes: _Votes, rule: wire.guard_rules.Ring) -> Numbers:
    """Returns the pairs that may be similar enough, each as second · actors + first, ascending."""
    actors = len(votes.count)
    by_rank = np.argsort(votes.count, kind="stable")  # the actor with fewer votes is the first of a pair
    heads = _heads(votes, rule, by_rank)
    completion, rank = (heads >> np.uint64(32)).astype(np.uint32), heads.astype(np.uint32)
    del heads
    after = _after(completion)
    of_rank = votes.count[by_rank]
    chunks = [np.empty(0, np.int64)]
    sizes = np.zeros(actors, np.int64)
    for block in blocks(len(rank)):
        np.add.at(sizes, rank[block], after[block].astype(np.int64))
    for begin, end in parts(sizes):
        left = np.flatnonzero((rank >= begin) & (rank < end) & (after > 0))
        pairs, times = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for start, stop in parts(after[left]):
            row = left[start:stop]
            followers = after[row].astype(np.int64)
            row = np.repeat(row, followers)
            first = rank[row].astype(np.int64)
            second = rank[row + 1 + counted_up(followers)].astype(np.int64)
            alike = of_rank[first] >= rule.overlap * of_rank[second] - 1e-9
            pair, often = np.unique(first[alike] * actors + second[alike], return_counts=True)
            pairs.append(pair)
            times.append(often)
        pair, index = np.unique(np.concatenate(pairs), return_inverse=True)
        first, second = np.divmod(pair[np.bincount(index, np.concatenate(times), len(pair)) >= SHARED], actors)
        chunks.append(by_rank[second] * actors + by_rank[first])
    candidates = np.concatenate(chunks)
    candidates.sort()
    return candidates


def _heads(votes: _Votes, rule: wire.guard_rules.Ring, by_rank: Numbers) -> NDArray[np.uint64]:
    """Returns the heads of the actors' lists, except completions without a pair: completion · 2³² + rank, ascending."""
    rank = np.empty(len(by_rank), np.uint64)
    rank[by_rank] = np.arange(len(by_rank), dtype=np.uint64)
    needed = np.maximum(np.ceil(rule.overlap * votes.count - 1e-9).astype(np.int64), rule.together)
    length = np.where(votes.count >= rule.together, votes.count - needed + SHARED, 0)
    heads = np.empty(len(votes), np.uint64)  # the largest possible size: unwritten pages cost nothing
    size = 0
    for begin, end in parts(votes.count, of_votes(len(votes))):
        actor = np.flatnonzero(votes.count[begin:end]) + begin
        count = votes.count[actor]
        completion = votes.completion[votes.begin[actor[0]] :][: count.sum()]
        voters = np.minimum(votes.voters[completion], CROWD + 1).astype(np.uint64)  # in 7 bits; the actors are the rest
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
    """Returns for each element how many follow it in the same block of at most `CROWD`; `block` ascends."""
    begins = np.flatnonzero(np.diff(block, prepend=block[:1] + np.uint32(1))).astype(np.uint32)
    sizes = np.diff(begins, append=np.uint32(len(block)))
    ends = np.repeat(begins + sizes, sizes)
    ends -= np.arange(1, len(block) + 1, dtype=np.uint32)
    return ends.astype(np.uint8)


def _linked(votes: _Votes, candidates: Numbers, rule: wire.guard_rules.Ring) -> _Pairs:
    """Returns the candidates that meet the rule and that chance does not explain, with their figures."""
    actors = np.count_nonzero(votes.count)
    limit = chance.MILLION + np.log(max(actors * (actors - 1) / 2, 1.0))
    second, first = np.divmod(candidates, max(len(votes.count), 1))
    # The list of each second actor is looked up once, for all its firsts together.
    sizes = votes.count[first] + np.where(np.diff(second, prepend=-1) > 0, votes.count[second], 0)
    linked = [_compared(votes, second[:0], second[:0])]
    for begin, end in parts(sizes):
        pairs = _compared(votes, first[begin:end], second[begin:end])
        meets = (
            (pairs.together >= rule.together)
            & (pairs.overlap >= rule.overlap)
            & (pairs.agreement >= rule.agreement)
            & (pairs.surprise > limit)
        )
        linked.append(pairs.only(meets))
    return _Pairs.joined(linked)


def _compared(votes: _Votes, first: Numbers, second: Numbers) -> _Pairs:
    """Returns each pair with its figures; `second` ascends."""
    together, agreed, expected = _in_common(votes, first, second)
    either = votes.count[first] + votes.count[second] - together
    return _Pairs(
        first=first,
        second=second,
        together=together,
        overlap=together / either,
        agreement=agreed / np.maximum(together, 1),
        surprise=chance.more_than(agreed.astype(np.float64), expected),
    )


def _in_common(votes: _Votes, first: Numbers, second: Numbers) -> tuple[Numbers, Numbers, NDArray[np.float64]]:
    """Returns for each pair: the completions that both judged, their equal votes, and those expected by chance.

    By chance the second actor judges a completion of the first as often as all others do: its votes times the
    completion's share of the others' votes. It agrees with the first as often as the others do on this completion. One
    vote is added to theirs, so that a completion nobody else judged is not impossible.
    """
    pair = np.repeat(np.arange(len(first)), votes.count[first])
    row = _rows(votes, first)
    completion, verdict = votes.completion[row], votes.desirable[row]
    both, theirs = _looked_up(votes, completion, second, pair)
    alike = both & (theirs == verdict)
    voters, ups = votes.voters[completion].astype(np.int64), votes.ups[completion].astype(np.int64)
    others = voters - 1 - both
    same = np.where(verdict, ups, voters - ups) - 1 - alike
    mine = votes.count[second][pair]
    elsewhere = len(votes) - votes.count[first][pair] - mine + 1
    judges = np.where(others >= CROWD, 1.0, np.minimum(mine * (others + 1) / elsewhere, 1.0))
    agrees = (same + np.where(verdict, votes.share, 1 - votes.share)) / (others + 1)
    return (
        np.bincount(pair[both], minlength=len(first)),
        np.bincount(pair[alike], minlength=len(first)),
        np.bincount(pair, judges * agrees, minlength=len(first)).astype(np.float64),
    )


def _looked_up(votes: _Votes, completion: Small, second: Numbers, pair: Numbers) -> tuple[Flags, Flags]:
    """Returns whether the second of each pair judged the completion, and its vote if it did."""
    begins = np.diff(second, prepend=-1) > 0
    judge = second[begins]
    row = _rows(votes, judge)
    # Actor and completion in one number; here, actors are numbered from 0.
    completions = len(votes.voters)
    keys = np.repeat(np.arange(len(judge)) * completions, votes.count[judge]) + votes.completion[row]
    wanted = ((np.cumsum(begins) - 1) * completions)[pair] + completion
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return keys[index] == wanted, votes.desirable[row[index]]


def _rows(votes: _Votes, actors: Numbers) -> Numbers:
    """Returns the rows of the actors' votes, one actor after the other."""
    count = votes.count[actors]
    return np.repeat(votes.begin[actors], count) + counted_up(count)


def _findings(votes: _Votes, pairs: _Pairs, least: int) -> pl.DataFrame:
    """Returns a row for each actor of a ring of `least` or more."""
    partners: dict[int, list[int]] = {}
    for number, (first, second) in enumerate(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)):
        partners.setdefault(first, []).append(number)
        partners.setdefault(second, []).append(number)
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
                    "votes": int(votes.count[actor]),
                    "together": int(pairs.together[best]),
                    "overlap": float(pairs.overlap[best]),
                    "agreement": float(pairs.agreement[best]),
                    "ring": [other for other in ring if other != actor],
                    "examples": _common(votes, actor, partner)[:EXAMPLES],
                }
            )
    return pl.DataFrame(rows, schema_overrides={"rule": pl.String})


def _components(pairs: _Pairs) -> list[list[int]]:
    """Returns the groups of actors that are linked, directly or through others; each ascending, by their first."""
    leader: dict[int, int] = {}

    def of(actor: int) -> int:
        root = actor
        while leader.setdefault(root, root) != root:
            root = leader[root]
        while leader[actor] != root:
            leader[actor], actor = root, leader[actor]
        return root

    for first, second in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        low, high = sorted((of(first), of(second)))
        leader[high] = low
    groups: dict[int, list[int]] = {}
    for actor in sorted(leader):
        groups.setdefault(of(actor), []).append(actor)
    return list(groups.values())


def _common(votes: _Votes, *pair: int) -> list[int]:
    first, second = (votes.completion[votes.begin[actor] : votes.begin[actor] + votes.count[actor]] for actor in pair)
    return list(np.intersect1d(first, second, assume_unique=True).tolist())
