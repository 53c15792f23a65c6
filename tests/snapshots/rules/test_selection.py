"""The selection of a snapshot's rows: duplicates, sides, and caps."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thumbwheel.wire import LabelPolicy, SnapshotRules

from app.snapshots.leakage.report import on_both_sides
from app.snapshots.selection.candidates import Candidates
from app.snapshots.selection.select import select
from app.snapshots.selection.selected_rows import SPLITS, TRAIN, Selection
from tests.snapshots.candidates import NOON, Reply, gathered

NO_CAPS = {"influence": {"actor": None, "prompt": None}}


def selected(*said: Reply, rules: SnapshotRules | None = None, **guards: Any) -> tuple[Selection, Candidates]:
    policy = LabelPolicy.model_validate({"guards": guards or NO_CAPS})
    candidates, drops = gathered(said, policy.guards.duplicates)
    nobody = np.empty(0, np.int64)
    selection = select(
        candidates, drops, candidates.prompts.key, candidates.prompts.key, nobody, split_key="desk",
        guards=policy.guards, rules=rules or SnapshotRules(), as_of=NOON + timedelta(days=30),
    )  # fmt: skip
    return selection, candidates


def ids(selection: Selection, candidates: Candidates) -> list[str]:
    return candidates.ids.take(candidates.completion[selection.candidate]).to_pylist()


def test_texts_that_differ_in_case_and_spaces_are_one_row():
    twice = [Reply(1, "Where is it?", "It arrives  tomorrow."), Reply(2, "where is IT?", "It arrives tomorrow.")]

    assert ids(*selected(*twice)) == ["c1"]
    assert ids(*selected(*twice, duplicates={"exact": False})) == ["c1", "c2"]


def test_who_agreed_on_a_duplicate_shares_its_weight():
    selection, _ = selected(Reply(1, "Why?", "So.", actors=("ann",)), Reply(2, "Why?", "So.", actors=("bob",)))

    assert [row for row, _ in zip(*selection.members, strict=True)] == [0, 0]
    assert [row for _, row in zip(*selection.cluster, strict=True)] == [0, 0]


def test_sides_of_a_text_that_weigh_the_same_are_no_row_whatever_fractions_they_are_made_of():
    """The weights are chosen such that float addition is inexact: 0.1 + 0.2 is not 0.3."""
    sides = [(0.1, True), (0.2, True), (0.3, False)]

    selection, _ = selected(
        *(Reply(number, "Why?", "So.", label=label, weight=weight) for number, (weight, label) in enumerate(sides))
    )

    assert not len(selection.candidate)
    assert selection.drops["contradiction"] == 3


def test_of_a_text_the_first_row_of_the_heavier_side_stays():
    selection, candidates = selected(
        Reply(1, "Why?", "So.", label=False), Reply(3, "Why?", "So.", minutes=5), Reply(2, "Why?", "So.", minutes=7)
    )

    assert ids(selection, candidates) == ["c3"]
    assert selection.label.tolist() == [True]
    assert (selection.drops["outvoted"], selection.drops["duplicate"]) == (1, 1)


def test_what_must_never_be_trained_on_is_no_row():
    selection, candidates = selected(Reply(1, "Why?", "So.", never_train=True), Reply(2, "Why?", "No."))

    assert ids(selection, candidates) == ["c2"]
    assert selection.drops["never_train"] == 1


def test_a_prompt_without_a_normal_form_gives_no_row_and_is_counted_by_reason():
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
    broken = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}
    call = [{"role": "user", "content": "Hi"}, broken]

    selection, candidates = selected(Reply(1, image, "So."), Reply(2, "Why?", "No."), Reply(3, call, "So."))

    assert ids(selection, candidates) == ["c2"]
    assert (selection.drops["media_content"], selection.drops["tool_arguments"]) == (1, 1)


def test_a_prompt_in_parts_is_the_prompt_of_the_same_text():
    parts = [{"role": "user", "content": [{"type": "text", "text": "Why?"}], "name": None}]

    selection, candidates = selected(
        Reply(1, parts, "So."), Reply(2, [{"role": "user", "content": "Why?"}], "So."), Reply(3, "Where?", "No.")
    )

    assert ids(selection, candidates) == ["c2", "c3"] or ids(selection, candidates) == ["c1", "c3"]
    assert selection.drops["duplicate"] == 1
    assert not candidates.prompts.rich.any()


PROMPTS = st.integers(0, 12).map(lambda number: f"Question {number}?")
SAID = st.lists(
    st.builds(
        Reply,
        number=st.integers(0, 10**6),
        prompt=PROMPTS,
        text=st.sampled_from(["Yes.", "yes. ", "No.", "Perhaps."]),
        label=st.booleans(),
        actors=st.sets(st.sampled_from(["ann", "bob", "cy", "dee", "eve"]), min_size=1).map(lambda some: (*some,)),
        weight=st.sampled_from([0.25, 0.5, 1.0]),
        minutes=st.integers(0, 60 * 24 * 30),
    ),
    max_size=60,
    unique_by=lambda one: one.number,
)
RULES = st.builds(
    SnapshotRules,
    holdout_share=st.sampled_from([0.1, 0.5]),
    holdout_days=st.sampled_from([None, 1, 10]),
    disjoint_actors=st.booleans(),
)


@given(SAID, RULES)
def test_every_candidate_is_a_row_or_a_counted_drop_and_both_sides_share_neither_prompts_nor_separated_actors(
    said, rules
):
    selection, candidates = selected(*said, rules=rules)

    assert len(candidates) == len(selection.candidate) + selection.drops.total()
    held_out = selection.split != TRAIN
    assert on_both_sides(selection.group, held_out) == 0
    if rules.disjoint_actors:
        row, actor = selection.members
        assert not set(actor[held_out[row]]) & set(actor[~held_out[row]])
    if rules.holdout_days is not None:
        late = candidates.moment[selection.candidate] >= (
            (NOON + timedelta(days=30 - rules.holdout_days)).timestamp() * 1e6
        )
        assert not late[~held_out].any()
    else:
        assert not (selection.split == SPLITS.index("later")).any()


@given(SAID, RULES, st.randoms(use_true_random=True))
def test_the_order_in_which_candidates_come_makes_no_difference(said, rules, seed):
    guards = {"influence": {"actor": {"share": 0.2, "rows": 20, "times_equal": 1}}}
    one, candidates = selected(*said, rules=rules, **guards)
    other, shuffled = selected(*seed.sample(said, len(said)), rules=rules, **guards)

    assert len(candidates) == len(one.candidate) + one.drops.total()
    assert ids(one, candidates) == ids(other, shuffled)
    for column in ("label", "weight", "split"):
        assert np.array_equal(getattr(one, column), getattr(other, column))
    assert one.drops == other.drops


@pytest.mark.parametrize("said", [[], [Reply(1, "Why?", "So.")]])
def test_hardly_any_rows_are_no_error(said):
    selection, _ = selected(*said)

    assert len(selection.candidate) == len(said)
