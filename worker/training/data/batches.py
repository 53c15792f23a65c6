"""The fixed plan of micro-batches and of the mismatched completion for each row.

Blocks (micro-batches) and partners are chosen once; an epoch only shuffles the order of the blocks. The mismatched
completions therefore stay the same, and the reference's log-probs of them are computed once for all epochs. All
choices follow from the seed and the epoch, so there is no random state to save.

A partner is another row of the block with a different prompt and a different completion. Each row is a partner once:
by a rotation if one fits, otherwise by an assignment. A row without a partner counts in the loss but not in z0.

Objectives that compare pairs get blocks of whole pairs (chosen, rejected, chosen, rejected, …) without partners.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from worker.training.data.rows import Row

#: Number of blocks whose rows are sorted by length together: little padding, and still a random mix.
WINDOW = 64
#: Number of blocks on each side that a block may swap rows with when it cannot pair its own.
REACH = 8


@dataclass(frozen=True)
class Block:
    rows: tuple[int, ...]
    partners: tuple[int | None, ...]  # per slot: the row whose completion is y', or None


@dataclass(frozen=True)
class BatchPlan:
    blocks: tuple[Block, ...]
    mismatched: bool = True  # whether partners were chosen

    @property
    def unpaired(self) -> int:
        """The number of rows without a partner."""
        return self.mismatched * sum(partner is None for block in self.blocks for partner in block.partners)

    @property
    def rows(self) -> int:
        return len({row for block in self.blocks for row in block.rows})

    @property
    def pairs(self) -> int:
        """The number of pairs, in a plan of pairs."""
        return sum(len(block.rows) for block in self.blocks) // 2

    def steps(self, epoch: int, blocks_per_step: int, seed: int) -> list[list[Block]]:
        """Returns the epoch's optimizer steps: every block once, in the epoch's own order. The last may be shorter."""
        order = np.random.default_rng([seed, 1, epoch]).permutation(len(self.blocks))
        return [
            [self.blocks[index] for index in order[start : start + blocks_per_step]]
            for start in range(0, len(order), blocks_per_step)
        ]

    def steps_after(self, done: int, blocks_per_step: int, seed: int) -> Iterator[list[Block]]:
        """Yields the optimizer steps after the first `done` ones, epoch after epoch without end."""
        first, offset = divmod(done, self.steps_per_epoch(blocks_per_step))
        for epoch in count(first):
            yield from self.steps(epoch, blocks_per_step, seed)[offset:]
            offset = 0

    def steps_per_epoch(self, blocks_per_step: int) -> int:
        return -(-len(self.blocks) // blocks_per_step)


def plan(
    rows: Sequence[Row],
    micro_batch_size: int,
    *,
    even_classes: bool,
    seed: int,
    mismatched: bool = True,
    only: Sequence[int] | None = None,
) -> BatchPlan:
    """Returns a plan of blocks of `micro_batch_size` rows; the last block may be smaller, but has two rows at least.

    Each row is used at least once. `even_classes` makes every block half desirable, half undesirable (an odd size
    loses one row) and repeats the rarer class until each row of the commoner one has been used once. `mismatched`
    chooses partners. `only` limits the plan to the rows of these indices.
    """
    generator = np.random.default_rng([seed, 0])
    lengths = np.array([row.length for row in rows])
    usable = np.arange(len(rows)) if only is None else np.array(only, dtype=int)
    if even_classes:
        groups = _even_groups(rows, usable, lengths, micro_batch_size, generator)
    else:
        order = generator.permutation(usable)
        groups = _without_loners(
            _chunks(_sorted_in_windows(order, lengths, WINDOW * micro_batch_size), micro_batch_size)
        )
    if not mismatched:
        return BatchPlan(tuple(_without_partners(group) for group in groups), mismatched=False)
    return BatchPlan(tuple(Block(tuple(group), _partners(rows, group)) for group in _swap_until_paired(rows, groups)))


def plan_pairs(rows: Sequence[Row], pairs: Sequence[tuple[int, int]], micro_batch_size: int, *, seed: int) -> BatchPlan:
    """Returns a plan of blocks of `micro_batch_size` / 2 pairs, each pair once. The last block may be smaller."""
    order = np.random.default_rng([seed, 0]).permutation(len(pairs))
    longer = np.array([max(rows[chosen].length, rows[rejected].length) for chosen, rejected in pairs])
    half = micro_batch_size // 2
    groups = _chunks(_sorted_in_windows(order, longer, WINDOW * half), half)
    blocks = (_without_partners([row for pair in group for row in pairs[pair]]) for group in groups)
    return BatchPlan(tuple(blocks), mismatched=False)


def _without_partners(group: Sequence[int]) -> Block:
    return Block(tuple(group), (None,) * len(group))


def _even_groups(
    rows: Sequence[Row], usable: np.ndarray, lengths: np.ndarray, micro_batch_size: int, generator: np.random.Generator
) -> list[list[int]]:
    half = micro_batch_size // 2
    classes = [np.array([i for i in usable if rows[i].desirable is kind]) for kind in (True, False)]
    longest = max(len(members) for members in classes)
    halves = []
    for members in classes:
        rounds = [generator.permutation(members) for _ in range(-(-longest // len(members)))]
        halves.append(_chunks(_sorted_in_windows(np.concatenate(rounds)[:longest], lengths, WINDOW * half), half))
    return [[*desirable, *undesirable] for desirable, undesirable in zip(*halves, strict=True)]


def _sorted_in_windows(order: np.ndarray, lengths: np.ndarray, window: int) -> list[int]:
    windows = [order[start : start + window] for start in range(0, len(order), window)]
    return [int(row) for part in windows for row in part[np.argsort(lengths[part], kind="stable")]]


def _chunks(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def _without_loners(groups: list[list[int]]) -> list[list[int]]:
    """Ensures that the last block has two rows: a single row has no partner.

    The block before gives it a row, or takes it in.
    """
    if len(groups) > 1 and len(groups[-1]) == 1:
        if len(groups[-2]) > 2:
            groups[-1].append(groups[-2].pop())
        else:
            groups[-2].extend(groups.pop())
    return groups


def _partners(rows: Sequence[Row], group: Sequence[int]) -> tuple[int | None, ...]:
    size = len(group)
    allowed = _allowed(rows, group)
    slots = np.arange(size)
    for turn in range(1, size):
        if allowed[slots, (slots + turn) % size].all():
            return tuple(group[(slot + turn) % size] for slot in range(size))
    return tuple(None if other is None else group[other] for other in _assignment(allowed.tolist()))


def _allowed(rows: Sequence[Row], group: Sequence[int]) -> np.ndarray:
    """Returns the matrix [slots, slots] that is true where the second row may lend its completion to the first.

    It may if neither the prompts (as sent, as cut) nor the completions are equal, which excludes the row itself.
    """
    allowed = np.ones((len(group), len(group)), dtype=bool)
    for identity in (
        [rows[row].prompt_key for row in group],
        [rows[row].prompt.tobytes() for row in group],
        [rows[row].completion.tobytes() for row in group],
    ):
        numbers: dict[bytes, int] = {}
        number = np.array([numbers.setdefault(value, len(numbers)) for value in identity])
        allowed &= number[:, None] != number[None, :]
    return allowed


def _assignment(allowed: Sequence[Sequence[bool]]) -> list[int | None]:
    """Returns a largest one-to-one assignment of slots to allowed slots, by augmenting paths (Kuhn 1955)."""
    size = len(allowed)
    taken_by: list[int | None] = [None] * size

    def place(slot: int, seen: set[int]) -> bool:
        for other in range(size):
            if allowed[slot][other] and other not in seen:
                seen.add(other)
                holder = taken_by[other]
                if holder is None or place(holder, seen):
                    taken_by[other] = slot
                    return True
        return False

    for slot in range(size):
        place(slot, set())
    partners: list[int | None] = [None] * size
    for other, holder in enumerate(taken_by):
        if holder is not None:
            partners[holder] = other
    return partners


def _swap_until_paired(rows: Sequence[Row], groups: list[list[int]]) -> list[list[int]]:
    """Swaps rows that a block cannot pair for rows of the same class in neighbouring blocks.

    Each swap must leave fewer rows without a partner.
    """
    for index, group in enumerate(groups):
        if not _unpaired(rows, group):
            continue
        for neighbour in _neighbours(index, len(groups)):
            while _unpaired(rows, group) and _swapped(rows, group, groups[neighbour]):
                pass
    return groups


def _neighbours(index: int, count: int) -> Iterable[int]:
    return (
        neighbour
        for step in range(1, REACH + 1)
        for neighbour in (index - step, index + step)
        if 0 <= neighbour < count
    )


def _unpaired(rows: Sequence[Row], group: Sequence[int]) -> int:
    return _partners(rows, group).count(None)


def _swapped(rows: Sequence[Row], group: list[int], other: list[int]) -> bool:
    """Makes the first swap that helps and returns True; returns False if no swap helps."""
    before = _unpaired(rows, group) + _unpaired(rows, other)
    unpaired = [slot for slot, partner in enumerate(_partners(rows, group)) if partner is None]
    for slot in unpaired:
        for other_slot in range(len(other)):
            if rows[group[slot]].desirable is not rows[other[other_slot]].desirable:
                continue
            group[slot], other[other_slot] = other[other_slot], group[slot]
            if _unpaired(rows, group) + _unpaired(rows, other) < before:
                return True
            group[slot], other[other_slot] = other[other_slot], group[slot]
    return False
