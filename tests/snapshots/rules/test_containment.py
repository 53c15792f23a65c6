"""Held-out prompts inside training prompts, and held-out answers that are also training answers."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from app.snapshots.leakage.containment import Answers, contained
from app.snapshots.prompts.conversations import OPENING

#: Prompts of at least four such words are long enough for the search.
prompts = st.lists(st.sampled_from(["parcels", "refunds", "answers"]), min_size=4, max_size=7).map(" ".join)


@settings(max_examples=100)
@given(st.lists(prompts, max_size=6), st.lists(prompts, max_size=6))
def test_a_prompt_is_contained_where_its_words_stand_in_a_row(holdout, train):
    expected = sum(any(f" {one} " in f" {other} " for other in train) for one in holdout)

    assert contained(holdout, train) == {"looked_for": len(holdout), "contained": expected}


def test_a_chat_contains_the_prompts_of_its_earlier_turns_also_when_lines_break_elsewhere():
    earlier, later = "where is my parcel today?\nno idea", "Hello\nwhere is my  parcel today?\nno idea\nreally?"

    assert contained([earlier], [later])["contained"] == 1


def test_part_of_a_word_is_not_contained():
    assert contained(["arcels and refunds and answers"], ["parcels and refunds and answers"])["contained"] == 0


def test_prompts_that_say_too_little_are_not_looked_for():
    assert contained(["x" * (OPENING - 1)], ["x" * (OPENING - 1)]) == {"looked_for": 0, "contained": 0}
    assert contained([], []) == {"looked_for": 0, "contained": 0}


def test_equal_answers_are_counted_over_all_files():
    answers = Answers()
    answers.add(pl.Series(["yes", "no"]), held_out=False)
    answers.add(pl.Series(["perhaps"]), held_out=False)
    answers.add(pl.Series(["yes", "Yes", "perhaps", "yes"]), held_out=True)

    assert answers.report() == {"holdout": 4, "equal": 3}
    assert Answers().report() == {"holdout": 0, "equal": 0}
