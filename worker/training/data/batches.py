"""The fixed plan: which rows make a micro-batch, and whose completion each row is mismatched with.

Blocks (micro-batches) and partners are chosen once; an epoch only shuffles the order of the blocks. So the mismatched
completions are always the same ones, and the reference's log-probs of them, taken once, hold for every epoch. All
choices follow from the seed and the epoch: there is no random state to save.

A partner is another row of the block with another prompt and another completion, and each row is partner once: a
rotation where one fits, else an assignment. A row for which none exists takes part in the loss but not in z0.

Objectives that compare pairs get blocks of whole pairs: chosen, rejected, chosen, rejected, … without partners.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from worker.training.data.rows import Row

#: Rows of this many blocks are sorted by length together: little padding, and still a random mix.
WINDOW = 64
#: How many neighbouring blocks are asked for a row when a block cannot pair its own.
REACH = 8


@dataclass(frozen=True)
class Block:
    rows: tuple[int, ...]
    partners: tuple[int | None, ...]  # per slot: the row whose completion is y', None where none exists


@dataclass(frozen=True)
class Plan:
    blocks: tuple[Block, ...]
    mismatched: bool = True  # whether partners were looked for

    @property
    def unpaired(self) -> int:
        """Rows for which no partner was found."""
        return self.mismatched * sum(partner is None for block in self.blocks for partner in block.partners)

    @property
    def rows(self) -> int:
        return len({row for block in self.blocks for row in block.rows})

    def steps(self, epoch: int, blocks_per_step: int, seed: int) -> list[list[Block]]:
        """The epoch's optimizer steps: every block once, in an order of its own. The last step may be shorter."""
        order = np.random.default_rng([seed, 1, epoch]).permutation(len(self.blocks))
        return [
            [self.blocks[index] for index in order[start : start + blocks_per_step]]
            for start in range(0, len(order), blocks_per_step)
        ]

    def steps_after(self, done: int, blocks_per_step: int, seed: int) -> Iterator[list[Block]]:
        """The optimizer steps that follow `done` of them, epoch after epoch without end."""
        first, place = divmod(done, self.steps_per_epoch(blocks_per_step))
        for epoch in count(first):
            yield from self.steps(epoch, blocks_per_step, seed)[place:]
            place = 0

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
) -> Plan:
    """Blocks of `micro_batch_size` rows and what is left over (two rows at least), each row at least once.

    `even_classes`: every block is half desirable, half undesirable (an odd size loses one row); the rarer class is
    repeated until the commoner one has been used once. `mismatched`: choose partners. `only`: of these rows.
    """
    generator = np.random.default_rng([seed, 0])
    lengths = np.array([row.length for row in rows])
    if even_classes:
        groups = _even_groups(rows, lengths, micro_batch_size, generator)
    else:
        order = generator.permutation(np.arange(len(rows)) if only is None else np.array(only, dtype=int))
        groups = _without_loners(
            _chunks(_sorted_in_windows(order, lengths, WINDOW * micro_batch_size), micro_batch_size)
        )
    if not mismatched:
        return Plan(tuple(_without_partners(group) for group in groups), mismatched=False)
    return Plan(tuple(Block(tuple(group), _partners(rows, group)) for group in _swap_until_paired(rows, groups)))


def plan_pairs(rows: Sequence[Row], pairs: Sequence[tuple[int, int]], micro_batch_size: int, *, seed: int) -> Plan:
    """Blocks of `micro_batch_size` / 2 pairs and what is left over, each pair once."""
    order = np.random.default_rng([seed, 0]).permutation(len(pairs))
    longer = np.array([max(rows[chosen].length, rows[rejected].length) for chosen, rejected in pairs])
    half = micro_batch_size // 2
    groups = _chunks(_sorted_in_windows(order, longer, WINDOW * half), half)
    blocks = (_without_partners([row for pair in group for row in pairs[pair]]) for group in groups)
    return Plan(tuple(blocks), mismatched=False)


def _without_partners(group: Sequence[int]) -> Block:
    return Block(tuple(group), (None,) * len(group))


def _even_groups(
    rows: Sequence[Row], lengths: np.ndarray, micro_batch_size: int, generator: np.random.Generator
) -> list[list[int]]:
    half = micro_batch_size // 2
    classes = [np.array([i for i, row in enumerate(rows) if row.desirable is kind]) for kind in (True, False)]
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
    """A single row left over has no partner: it gets company from, or joins, the block before it."""
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
    """[slots, slots] whether the second may lend its completion to the first: neither prompt (as sent, as cut) nor
    completion are equal. This excludes the row itself."""
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
    """A largest one-to-one assignment of slots to allowed slots, by augmenting paths (Kuhn 1955)."""
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
    """Where a block cannot pair all its rows, swap them one by one for rows of its class in blocks nearby, as long as
    that leaves fewer rows without a partner."""
    for index, group in enumerate(groups):
        if not _unpaired(rows, group):
            continue
        for near in _neighbours(index, len(groups)):
            while _unpaired(rows, group) and _swapped(rows, group, groups[near]):
                pass
    return groups


def _neighbours(index: int, count: int) -> Iterable[int]:
    return (near for step in range(1, REACH + 1) for near in (index - step, index + step) if 0 <= near < count)


def _unpaired(rows: Sequence[Row], group: Sequence[int]) -> int:
    return _partners(rows, group).count(None)


def _swapped(rows: Sequence[Row], group: list[int], other: list[int]) -> bool:
    """Make the first swap that helps; False where none does."""
    before = _unpaired(rows, group) + _unpaired(rows, other)
    lonely = [slot for slot, partner in enumerate(_partners(rows, group)) if partner is None]
    for slot in lonely:
        for there in range(len(other)):
            if rows[group[slot]].desirable is not rows[other[there]].desirable:
                continue
            group[slot], other[there] = other[there], group[slot]
            if _unpaired(rows, group) + _unpaired(rows, other) < before:
                return True
            group[slot], other[there] = other[there], group[slot]
    return False
