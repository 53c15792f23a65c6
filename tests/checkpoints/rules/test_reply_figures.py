"""Figures of replies, against independent computations on small examples."""

import numpy as np
import pytest

from app.checkpoints.samples.figures import Replies, compared, figures_of, over_prompts_of, unchanged
from app.statistics.bootstrap import paired_difference
from app.statistics.shares import wilson

TEXTS = ["a b a b a b", "", "I can't help with that.", "one two three four five", "a b"]
OTHERS = ["a b", "x", "Sure.", "one two three four five", "a c"]
TOKENS, OTHER_TOKENS = [7, 1, 6, 6, 3], [3, 2, 2, 6, 3]


def replies(texts: list[str], tokens: list[int]) -> Replies:
    return Replies.of(texts, tokens, [True, True, True, False, True])


def test_every_figure_is_what_its_definition_says():
    over = over_prompts_of(5, 200, 0.95, seed=0)

    figures = figures_of(replies(TEXTS, TOKENS), over)

    pairs = [pair for text in TEXTS for pair in zip(text.split(), text.split()[1:], strict=False)]
    expected = {
        "length_mean": sum(TOKENS) / 5,
        "empty_share": 1 / 5,
        "refusal_share": 1 / 5,
        "repetition_share": (1 - 2 / 3) / 5,  # "a b a b", "b a b a", "a b a b"
        "distinct_2": len(set(pairs)) / len(pairs),
        "unfinished_share": 1 / 5,
    }
    assert {name: figure["value"] for name, figure in figures.items()} == pytest.approx(expected)
    assert all(figure["low"] <= figure["value"] <= figure["high"] for figure in figures.values())
    assert {figure["groups"] for figure in figures.values()} == {5}


def test_a_share_that_no_reply_or_every_reply_adds_to_has_an_interval_with_a_width():
    over = over_prompts_of(40, 100, 0.95, seed=0)

    figures = figures_of(Replies.of(["yes"] * 40, [2] * 40, [True] * 40), over)
    same = unchanged(["yes"] * 40, ["yes"] * 40, over)["unchanged_share"]

    for name in ("empty_share", "refusal_share", "unfinished_share"):
        assert [figures[name]["value"], figures[name]["low"], figures[name]["high"]] == [0, *wilson(0, 40)]
    assert [same["value"], same["low"], same["high"]] == [1, *wilson(40, 40)]


def test_differences_are_paired_by_prompt():
    over = over_prompts_of(5, 500, 0.9, seed=3)
    first, second = replies(TEXTS, TOKENS), replies(OTHERS, OTHER_TOKENS)

    figures = compared(first, second, over)

    assert figures["length_ratio"]["value"] == pytest.approx(sum(TOKENS) / sum(OTHER_TOKENS))
    for name, figure in (("refusal", first.refusal_N), ("empty", first.empty_N), ("repetition", first.repetition_N)):
        other = getattr(second, f"{name}_N")
        assert figures[f"{name}_difference"]["value"] == pytest.approx(figure.mean() - other.mean())
        expected = paired_difference(over, figure, other)
        assert figures[f"{name}_difference"]["low"] == pytest.approx(expected["low"])
    own, others = figures_of(first, over)["distinct_2"], figures_of(second, over)["distinct_2"]
    assert figures["distinct_2_difference"]["value"] == pytest.approx(own["value"] - others["value"])
    assert unchanged(TEXTS, OTHERS, over)["unchanged_share"]["value"] == pytest.approx(1 / 5)


def test_equal_replies_differ_in_nothing():
    over = over_prompts_of(5, 100, 0.95, seed=0)

    figures = compared(replies(TEXTS, TOKENS), replies(TEXTS, TOKENS), over)

    assert [figures["length_ratio"][name] for name in ("value", "low", "high")] == [1, 1, 1]
    assert all(figure["low"] == figure["high"] == 0 for name, figure in figures.items() if name != "length_ratio")


def test_without_prompts_or_words_a_figure_is_missing_with_its_reason():
    nothing = figures_of(Replies.of([], [], []), over_prompts_of(0, 100, 0.95, seed=0))
    silent = figures_of(Replies.of(["", "one"], [1, 2], [True, True]), over_prompts_of(2, 100, 0.95, seed=0))

    assert {(figure["value"], figure["reason"], figure["groups"]) for figure in nothing.values()} == {
        (None, "no prompts were sampled", 0)
    }
    assert (silent["distinct_2"]["value"], silent["distinct_2"]["reason"]) == (None, "no reply has two words")
    assert silent["empty_share"]["value"] == 0.5


def test_prompts_that_a_resample_repeats_do_not_lower_the_share_of_distinct_pairs():
    texts = [f"word{number} other{number} last{number}" for number in range(40)]

    figure = figures_of(Replies.of(texts, [4] * 40, [True] * 40), over_prompts_of(40, 200, 0.95, seed=0))["distinct_2"]

    assert np.allclose([figure["low"], figure["value"], figure["high"]], 1)
