"""The plan of batches uses every row, mismatches partners, and changes only the order of blocks between epochs."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.training.data.batches import BatchPlan, plan
from worker.training.data.rows import Row


def row(prompt: int, completion: int, *, desirable: bool = True, length: int = 3) -> Row:
    return Row(
        prompt=np.full(length, prompt, dtype=np.int32),
        completion=np.array([completion, 0], dtype=np.int32),
        desirable=desirable,
        weight=1.0,
        completion_id=f"{prompt}/{completion}",
        prompt_key=str(prompt).encode(),
    )


def faults(batch_plan: BatchPlan, rows: list[Row]) -> list[tuple[int, int]]:
    return [
        (one, other)
        for block in batch_plan.blocks
        for one, other in zip(block.rows, block.partners, strict=True)
        if other is not None
        and (
            other not in block.rows
            or rows[one].prompt_key == rows[other].prompt_key
            or rows[one].completion.tolist() == rows[other].completion.tolist()
        )
    ]


@given(
    st.lists(st.tuples(*[st.integers(0, 6)] * 2, st.booleans(), st.integers(1, 9)), min_size=2, max_size=60),
    st.integers(2, 8),
    st.integers(0, 3),
)
def test_no_partner_is_the_row_itself_nor_has_its_prompt_or_completion(
    drawn: list[tuple[int, int, bool, int]], micro_batch_size: int, seed: int
) -> None:
    rows = [row(prompt, completion, desirable=d, length=n) for prompt, completion, d, n in drawn]

    batch_plan = plan(rows, micro_batch_size, even_classes=False, seed=seed)

    assert faults(batch_plan, rows) == []
    assert sorted(index for block in batch_plan.blocks for index in block.rows) == list(range(len(rows)))
    assert all(2 <= len(block.rows) <= max(3, micro_batch_size) for block in batch_plan.blocks)
    for block in batch_plan.blocks:
        lent = [partner for partner in block.partners if partner is not None]
        assert len(lent) == len(set(lent)), "a completion may be lent only once"


def test_split_preference_pairs_are_all_paired_with_strangers() -> None:
    # given both completions of each prompt as rows of equal length, so that sorting puts them side by side
    rows = [row(number // 2, number, desirable=number % 2 == 0) for number in range(64)]

    batch_plan = plan(rows, 4, even_classes=False, seed=0)

    assert faults(batch_plan, rows) == []
    assert batch_plan.unpaired == 0


def test_a_block_that_cannot_pair_its_rows_swaps_with_a_neighbour() -> None:
    # given four rows of one prompt that their length puts into one block
    rows = [row(1, number, length=20) for number in range(4)] + [row(number, number) for number in range(10, 30)]

    batch_plan = plan(rows, 4, even_classes=False, seed=0)

    assert batch_plan.unpaired == 0
    assert faults(batch_plan, rows) == []


def test_rows_without_any_possible_partner_are_reported() -> None:
    rows = [row(1, number) for number in range(4)]

    batch_plan = plan(rows, 4, even_classes=False, seed=0)

    assert batch_plan.unpaired == 4


def test_a_single_row_left_over_gets_company() -> None:
    rows = [row(number, number) for number in range(9)]

    sizes = [sorted(len(b.rows) for b in plan(rows, size, even_classes=False, seed=0).blocks) for size in (4, 2)]

    assert sizes == [[2, 3, 4], [2, 2, 2, 3]]


def test_an_epoch_shuffles_blocks_and_nothing_else() -> None:
    rows = [row(number, number, length=number % 7 + 1) for number in range(40)]
    batch_plan = plan(rows, 4, even_classes=False, seed=3)

    epochs = [[block for step in batch_plan.steps(epoch, 3, seed=3) for block in step] for epoch in range(3)]

    assert all(Counter(epoch) == Counter(batch_plan.blocks) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert [len(step) for step in batch_plan.steps(0, 3, seed=3)] == [3, 3, 3, 1]
    assert plan(rows, 4, even_classes=False, seed=3) == batch_plan
    assert plan(rows, 4, even_classes=False, seed=4) != batch_plan


def test_even_classes_repeat_the_rarer_class_until_the_commoner_is_used_once() -> None:
    rows = [row(number, number, desirable=number < 5) for number in range(25)]

    batch_plan = plan(rows, 8, even_classes=True, seed=0)

    used = Counter(index for block in batch_plan.blocks for index in block.rows)
    assert all(sum(rows[index].desirable for index in block.rows) * 2 == len(block.rows) for block in batch_plan.blocks)
    assert [used[index] for index in range(5)] == [4] * 5
    assert [used[index] for index in range(5, 25)] == [1] * 20
    assert faults(batch_plan, rows) == []


def test_blocks_hold_rows_of_similar_length() -> None:
    rows = [row(number, number, length=number % 100 + 1) for number in range(1000)]

    batch_plan = plan(rows, 8, even_classes=False, seed=0)

    longest = sum(max(rows[index].length for index in block.rows) * len(block.rows) for block in batch_plan.blocks)
    assert sum(r.length for r in rows) / longest > 0.9
