"""Draws the stratified, reproducible sample of rows that people judge in an audit. Pure.

A stratum is the rows with the same label, checkpoint and kind of signal. Rows come in any order and any number. Memory
holds one id per row that may still be drawn: at most `per_class` of each stratum.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappush, heapreplace
from typing import NamedTuple
from uuid import UUID

#: Kinds whose reasons do not begin with the name of the kind.
_KINDS = {"edited": "edit", "preferred": "preference", "not": "preference"}


class Stratum(NamedTuple):
    label: bool
    checkpoint_id: UUID | None
    kind: str


@dataclass(frozen=True)
class Sample:
    """The drawn rows.

    numbers  1, 2, 3 … by completion id, in an order that is independent of the strata
    rows     the number of rows of each class before the draw
    """

    numbers: Mapping[str, int]
    rows: Mapping[bool, int]


@dataclass
class _Smallest:
    """The rows of one stratum with the smallest hashes. The largest is on top of the heap, so hashes are negated."""

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
    """Returns the kind of signal behind a reason of the label policy: thumbs for thumbs_up, flag for flag_severe."""
    first = reason.split("_", 1)[0]
    return _KINDS.get(first, first)


def draw(rows: Iterable[tuple[Stratum, str]], *, per_class: int, seed: int) -> Sample:
    """Returns a sample of `rows`, each a stratum with the row's completion id: `per_class` rows of each label, or all
    if there are fewer.

    `shares` decides the number of rows per stratum. Within a stratum, the ids with the smallest hashes under the seed
    are drawn, so that the order of `rows` makes no difference.
    """
    strata: dict[Stratum, _Smallest] = {}
    for stratum, completion_id in rows:
        strata.setdefault(stratum, _Smallest()).add(_chance(seed, completion_id, b"draw"), completion_id, per_class)
    drawn: list[str] = []
    totals = {}
    for label in (True, False):
        of_label = {stratum: heap for stratum, heap in strata.items() if stratum.label is label}
        totals[label] = sum(heap.rows for heap in of_label.values())
        sizes = {stratum: heap.rows for stratum, heap in of_label.items()}
        counts = shares(sizes, min(per_class, totals[label]), seed)
        drawn += [completion_id for stratum, heap in of_label.items() for completion_id in heap.first(counts[stratum])]
    ordered = sorted(set(drawn), key=lambda completion_id: (_chance(seed, completion_id, b"order"), completion_id))
    return Sample({completion_id: number for number, completion_id in enumerate(ordered, start=1)}, totals)


def shares(sizes: Mapping[Stratum, int], total: int, seed: int) -> dict[Stratum, int]:
    """Distributes `total` seats, at most the sum of the sizes: one for each stratum, the others in proportion to the
    remaining rows, by largest remainders (Hamilton's method). A hash with the seed breaks ties between remainders.

    If there are more strata than seats, all seats are proportional, and not every stratum has one.

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
    """Returns a number that looks random and is the same for the same seed, text and purpose."""
    hashed = hashlib.blake2b(text.encode(), key=seed.to_bytes(8, "big"), person=purpose, digest_size=8)
    return int.from_bytes(hashed.digest(), "big")
