"""Which rows a snapshot has: duplicates, and what caps leave."""

from thumbwheel.wire import LabelPolicy

from app.labels.policy import Resolution
from app.labels.service import Resolved
from app.snapshots.selection import Selection, select

WORDS = "the parcel left our warehouse this morning and should arrive tomorrow before noon if it does not answer here"


def completion(
    number: int, prompt: str, text: str, *, label: bool = True, actor: str | None = None, weight: float = 1.0
) -> Resolved:
    resolution = Resolution(
        label, weight, ("thumbs_up" if label else "thumbs_down",), actors=(actor or f"user-{number}",)
    )
    return Resolved(f"c{number}", prompt, text, None, number, resolution)


def selected(*completions: Resolved, **guards) -> Selection:
    policy = LabelPolicy.model_validate({"guards": guards})
    return select(completions, "desk", policy.guards, 0.1, keep_text=lambda _: 0)


def test_texts_that_differ_in_case_and_spaces_are_one_row():
    twice = [
        completion(1, "Where is it?", "It arrives  tomorrow."),
        completion(2, "where is IT?", "It arrives tomorrow."),
    ]

    assert [row.completion_id for row in selected(*twice).rows] == ["c1"]
    assert len(selected(*twice, duplicates={"exact": False}).rows) == 2


def test_texts_that_are_nearly_the_same_are_one_row_where_the_policy_says_so():
    near = {"duplicates": {"near": {"similarity": 0.7}}}
    alike = [completion(1, "Where is it?", WORDS), completion(2, "Where is it?", f"{WORDS} now")]

    assert len(selected(*alike).rows) == 2
    assert [row.completion_id for row in selected(*alike, **near).rows] == ["c1"]


def test_other_completions_of_a_long_prompt_are_other_rows():
    near = {"duplicates": {"near": {"similarity": 0.7}}}

    found = selected(completion(1, WORDS, "Yes."), completion(2, WORDS, "No.", label=False), **near)

    assert [row.label for row in found.rows] == [True, False]


def test_who_agreed_on_a_duplicate_shares_its_weight():
    rows = selected(completion(1, "Why?", "So.", actor="ann"), completion(2, "Why?", "So.", actor="bob")).rows

    assert [row.actors for row in rows] == [("ann", "bob")]


def test_sides_of_a_text_that_weigh_the_same_are_no_row_whatever_fractions_they_are_made_of():
    """0.1 + 0.2 is not 0.3 in floats."""
    sides = [(0.1, True), (0.2, True), (0.3, False)]

    found = selected(
        *(completion(number, "Why?", "So.", label=label, weight=weight) for number, (weight, label) in enumerate(sides))
    )

    assert not found.rows
    assert found.drops["contradiction"] == 3


def test_of_a_text_the_first_row_of_the_heavier_side_stays():
    found = selected(
        completion(1, "Why?", "So.", label=False), completion(2, "Why?", "So."), completion(3, "Why?", "So.")
    )

    assert [(row.completion_id, row.label) for row in found.rows] == [("c2", True)]
    assert (found.drops["outvoted"], found.drops["duplicate"]) == (1, 1)
