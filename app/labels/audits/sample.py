"""Which rows people should look at: a stratified sample that anybody can draw again. Pure.

A stratum is what shares label, checkpoint and kind of signal. Rows come in any order and any number; what is kept in
memory is one id per row that may still be drawn: at most `per_class` of each stratum.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappush, heapreplace
from typing import NamedTuple
from uuid import UUID

#: Kinds whose reasons are not named for them.
_KINDS = {"edited": "edit", "preferred": "preference", "not": "preference"}


class Stratum(NamedTuple):
    label: bool
    checkpoint_id: UUID | None
    kind: str


@dataclass(frozen=True)
class Sample:
    """numbers  1, 2, 3 … by completion id, in an order that tells nothing of the strata
    rows     of each class, of which was drawn
    """

    numbers: Mapping[str, int]
    rows: Mapping[bool, int]


@dataclass
class _Kept:
    """The rows of one stratum with the smallest hashes; the largest of them on top, so hashes are negated."""

    rows: int = 0
    smallest: list[tuple[int, str]] = field(default_factory=list)

    def add(self, chance: int, completion_id: str, at_most: int) -> None:
        self.rows += 1
        if len(self.smallest) < at_most:
            heappush(self.smallest, (-chance, completion_id))
        elif (-chance, completion_id) > self.smallest[0]:
            heapreplace(self.smallest, (-chance, completion_id))

    def first(self, count: int) -> list[str]:
        return [completion_id for _, completion_id in sorted(self.smallest, reverse=True)[:count]]


def kind_of(reason: str) -> str:
    """The kind of signal behind a reason of the label policy: thumbs of thumbs_up, flag of flag_severe."""
    first = reason.split("_", 1)[0]
    return _KINDS.get(first, first)


def draw(rows: Iterable[tuple[Stratum, str]], *, per_class: int, seed: int) -> Sample:
    """A sample of `rows`, each a stratum with the row's completion id: `per_class` of each label, or all there are.

    How many of each stratum: see `shares`. Which: those whose ids, hashed with the seed, come first. So the order of
    `rows` makes no difference.
    """
    strata: dict[Stratum, _Kept] = {}
    for stratum, completion_id in rows:
        strata.setdefault(stratum, _Kept()).add(_chance(seed, completion_id, b"draw"), completion_id, per_class)
    drawn: list[str] = []
    totals = {}
    for label in (True, False):
        of_label = {stratum: kept for stratum, kept in strata.items() if stratum.label is label}
        totals[label] = sum(kept.rows for kept in of_label.values())
        sizes = {stratum: kept.rows for stratum, kept in of_label.items()}
        counts = shares(sizes, min(per_class, totals[label]), seed)
        drawn += [completion_id for stratum, kept in of_label.items() for completion_id in kept.first(counts[stratum])]
    ordered = sorted(set(drawn), key=lambda completion_id: (_chance(seed, completion_id, b"order"), completion_id))
    return Sample({completion_id: number for number, completion_id in enumerate(ordered, start=1)}, totals)


def shares(sizes: Mapping[Stratum, int], total: int, seed: int) -> dict[Stratum, int]:
    """`total` seats for strata of these sizes, at most the sum of them: one for each stratum, the others in proportion
    to the rows that are left, by largest remainders (Hamilton's method). Equal remainders go by a hash with the seed.

    Where there are more strata than seats, all seats go by proportion, and not every stratum has one.

    No stratum gets more than it has: of n − 1 rows left, its quota is at most n − 1.
    """
    first = 1 if len(sizes) <= total else 0
    left = sum(sizes.values()) - first * len(sizes)
    seats = total - first * len(sizes)
    if left == 0:
        return dict.fromkeys(sizes, first)
    # In whole numbers: floor and remainder of seats · rows / left.
    quotas = {stratum: divmod(seats * (rows - first), left) for stratum, rows in sizes.items()}
    missing = seats - sum(whole for whole, _ in quotas.values())
    by_remainder = sorted(sizes, key=lambda stratum: (-quotas[stratum][1], _chance(seed, repr(stratum), b"seat")))
    rounded_up = set(by_remainder[:missing])
    return {stratum: first + quotas[stratum][0] + (stratum in rounded_up) for stratum in sizes}


def _chance(seed: int, text: str, purpose: bytes) -> int:
    """A number that looks random and is the same for the same seed and text."""
    hashed = hashlib.blake2b(text.encode(), key=seed.to_bytes(8, "big"), person=purpose, digest_size=8)
    return int.from_bytes(hashed.digest(), "big")
