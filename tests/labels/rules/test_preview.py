"""Two policies compared on a few completions, with counts made by hand."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from thumbwheel import wire
from thumbwheel.wire.previews import GuardEffect

from app.labels.previews.flips import examples_of, flipped, matrix
from app.labels.previews.preview import Named, effect, guards_of, only, signals_of
from app.labels.previews.shortened_texts import CompletionTexts, shortened
from app.labels.previews.unheard import unheard
from app.labels.whole_log.comparisons import COMPARISONS
from app.labels.whole_log.labelled import Labelled

NO_GUARDS = GuardEffect(
    quarantined_actors=0, quarantined_votes=0, capped_rows=0, weight_before_caps=0, weight_after_caps=0
)


def labelled(*rows, said=(), rewrites=(), votes=()):
    """Builds a labelled log.

    rows  (completion id, label, weight in thousandths, reasons)
    said  (row, kind, detail, says)
    """
    return Labelled(
        completions=pl.DataFrame(
            {
                "completion_id": [row[0] for row in rows],
                "label": [row[1] for row in rows],
                "weight": [row[2] for row in rows],
                "reason": [row[3][0] for row in rows],
                "reasons": [row[3] for row in rows],
                "position": range(1, len(rows) + 1),
                "known": [not row[0].startswith("late") for row in rows],
            },
            schema_overrides={
                "completion_id": pl.String,
                "label": pl.Boolean,
                "known": pl.Boolean,
                "weight": pl.Int32,
                "reason": pl.Categorical,
                "reasons": pl.List(pl.Categorical),
                "position": pl.Int64,
            },
        ),
        votes=pl.DataFrame(
            list(votes), schema={"completion": pl.UInt32, "actor": pl.UInt32, "desirable": pl.Boolean}, orient="row"
        ),
        comparisons=COMPARISONS.to_frame(),
        compared=np.empty(0, dtype=np.uint32),
        judgements=pl.DataFrame(
            [(completion, actor) for completion, actor, _ in votes],
            schema={"judged": pl.UInt32, "actor": pl.UInt32},
            orient="row",
        ),
        rewrites=pl.DataFrame(
            list(rewrites),
            schema={"completion": pl.UInt32, "weight": pl.Int32, "actors": pl.List(pl.UInt32)},
            orient="row",
        ),
        said=pl.DataFrame(
            list(said),
            schema={"completion": pl.UInt32, "kind": pl.String, "detail": pl.String, "says": pl.Categorical},
            orient="row",
        ),
        actors=pl.Series([f"u{number}" for number in range(201)], dtype=pl.String),
    )


BEFORE = labelled(
    ("a", True, 1000, ["thumbs_up", "copy"]),
    ("b", True, 500, ["copy"]),
    ("c", False, 1000, ["thumbs_down"]),
    ("late", False, 250, ["regenerate"]),
    ("d", None, 0, ["no_verdict"]),
    said=[
        (0, "thumbs", "up", "thumbs_up"),
        (0, "copy", None, "copy"),
        (0, "copy", None, "copy"),
        (1, "copy", None, "copy"),
        (2, "thumbs", "down", "thumbs_down"),
        (2, "rating", "0.5", "rating_low"),
        (3, "regenerate", None, "regenerate"),
        (4, "outcome", "solved at once true", None),
        (4, "outcome", "solved at once false", None),
        (4, "flag", "unsafe, odd", "flag_severe"),
        (4, "comment", None, None),
    ],
    rewrites=[(2, 1000, [7])],
)
AFTER = labelled(
    ("a", True, 1000, ["thumbs_up"]),
    ("b", None, 0, ["no_verdict"]),
    ("c", False, 1000, ["thumbs_down"]),
    ("late", None, 0, ["no_verdict"]),
    ("d", True, 700, ["outcome_solved_true"]),
    said=BEFORE.said.rows(),
)


def named(**document):
    return Named(wire.LabelPolicy.model_validate(document), 3, "f" * 64)


def test_an_effect_counts_signals_reasons_rows_and_weight():
    computed = effect(named(name="careful"), BEFORE, NO_GUARDS)

    assert (computed.version, computed.name, computed.nothing) == (3, "careful", 1)
    # Two completions and a rewritten text. Weights count only rows that can be used for training.
    assert computed.desirable.model_dump() == {"rows": 3, "weight": 2.5, "without_text": 0}
    assert computed.undesirable.model_dump() == {"rows": 1, "weight": 1.0, "without_text": 1}
    assert [(each.reason, each.label, each.rows, each.weight) for each in computed.reasons] == [
        ("copy", "desirable", 1, 0.5),
        ("thumbs_up", "desirable", 1, 1.0),
        ("regenerate", "undesirable", 1, 0.25),
        ("thumbs_down", "undesirable", 1, 1.0),
        ("no_verdict", "nothing", 1, 0.0),
        ("edited_text", "desirable", 1, 1.0),
    ]
    counts = {
        (each.kind, each.detail, each.says): (each.desirable, each.undesirable, each.nothing)
        for each in computed.signals
    }
    assert counts["copy", None, "copy"] == (3, 0, 0)
    assert counts["thumbs", "down", "thumbs_down"] == (0, 1, 0)
    assert counts["outcome", "solved at once true", None] == (0, 0, 1)
    assert sum(sum(three) for three in counts.values()) == BEFORE.said.height


def test_who_flips_is_a_matrix_with_examples_that_show_the_reasons_of_both():
    joined = flipped(BEFORE, AFTER)
    shown = examples_of(joined)
    texts = {
        "b": CompletionTexts([{"role": "user", "content": "Where\nis it?"}], "On its way."),
        "d": CompletionTexts("Hi", "Ho"),
    }

    flips = matrix(joined, shown, texts, signals_of(AFTER, shown["completion_id"]))

    assert [(flip.before, flip.after, flip.completions) for flip in flips] == [
        ("desirable", "desirable", 1),
        ("desirable", "nothing", 1),
        ("undesirable", "undesirable", 1),
        ("undesirable", "nothing", 1),
        ("nothing", "desirable", 1),
    ]
    assert [len(flip.examples) for flip in flips] == [0, 1, 0, 1, 1]
    [fell] = flips[1].examples
    assert (fell.completion_id, fell.prompt, fell.completion) == ("b", "Where is it?", "On its way.")
    assert (fell.before.weight, fell.before.reasons, fell.after.reasons) == (0.5, ["copy"], ["no_verdict"])
    assert fell.signals == ["copy"]
    [rose] = flips[4].examples
    assert rose.signals == [
        "comment",
        "flag unsafe, odd",
        "outcome solved at once false",
        "outcome solved at once true",
    ]
    assert (rose.after.label, rose.after.weight) == ("desirable", 0.7)


def test_ten_examples_are_the_newest_but_each_pair_of_reasons_comes_first():
    many = [(f"c{number}", True, 1000, ["thumbs_up"]) for number in range(20)]
    rare = [("rare", True, 500, ["copy"])]
    before = labelled(*rare, *many)
    after = labelled(*[(row[0], None, 0, ["no_verdict"]) for row in (*rare, *many)])

    joined = flipped(before, after)
    shown = examples_of(joined)["completion_id"].to_list()

    assert sorted(shown[:2]) == ["c19", "rare"]
    assert shown[2:] == [f"c{number}" for number in range(18, 10, -1)]
    [flip] = matrix(joined, examples_of(joined), {}, {})
    assert (flip.completions, len(flip.examples), flip.examples[0].completion) == (21, 10, None)


def test_what_the_policy_has_no_word_for_is_named_with_its_remedy():
    by_default = {(each.kind, each.detail): each for each in unheard(wire.LabelPolicy(), BEFORE)}

    assert set(by_default) == {("outcome", "solved at once"), ("flag", "odd")}
    assert by_default["outcome", "solved at once"].signals == 2
    assert "signals.outcome" in by_default["outcome", "solved at once"].why

    heard = named(
        signals={
            "outcome": {"solved at once": {}},
            "flag": {"odd ones": {"flags": ["odd", "unsafe"], "says": None}},
            "copy": None,
        }
    )
    assert [(each.kind, each.signals) for each in unheard(heard.policy, BEFORE)] == [("copy", 3)]


def test_a_part_of_the_completions_is_counted_by_itself():
    part = only(BEFORE, pl.Series([2, 4]))

    computed = effect(named(), part, NO_GUARDS)
    assert part.completions["completion_id"].to_list() == ["c", "d"]
    assert (computed.desirable.rows, computed.undesirable.rows, computed.nothing) == (1, 1, 1)
    assert signals_of(part, ["c"]) == {"c": ["rating 0.5", "thumbs down"]}


def test_places_of_ratings_are_counted_in_steps_and_usual_scales_keep_theirs():
    places = ["0", "0.25", "0.5", "0.75", "1", "0.1", "0.7", "0.123", "0.149"]
    said = [(0, "rating", place, None) for place in places]

    counted = effect(named(), labelled(("a", None, 0, ["no_verdict"]), said=said), NO_GUARDS).signals

    assert [(each.detail, each.nothing) for each in counted] == [
        ("0.0", 1),
        ("0.1", 3),
        ("0.25", 1),
        ("0.5", 1),
        ("0.7", 1),
        ("0.75", 1),
        ("1.0", 1),
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [(None, None), ("one\n two", "one two"), ("a" * 5000, "a" * 239 + "…"), (" " * 5000 + "end", "end")],
)
def test_texts_are_shown_on_one_line_and_cut(text, shown):
    assert shortened(text) == shown


def test_the_effect_of_the_guards_is_what_quarantine_leaves_out_and_what_caps_take_away():
    rows = [(f"c{number}", True, 1000, ["thumbs_up"]) for number in range(100)]
    mine = [(number, 0, True) for number in range(50)]  # actor 0 has half of all rows
    others = [(number, number, True) for number in range(50, 100)]
    spam = [(number, 200, False) for number in range(10)]
    prompts = pl.DataFrame({"completion_id": [f"c{number}" for number in range(99)], "prompt": range(99)})
    cap = {"share": 0.1, "rows": 1000, "times_equal": 1}
    policy = named(guards={"influence": {"actor": cap, "prompt": None}})

    everybodys = labelled(*rows, votes=mine + others + spam)
    computed = guards_of(policy, everybodys, ["u200"], labelled(*rows, votes=mine + others), prompts)

    assert (computed.quarantined_actors, computed.quarantined_votes) == (1, 10)
    assert (computed.capped_rows, computed.weight_before_caps) == (50, 100.0)
    # A tenth of the remaining weight: 50 / 0.9 - 50.
    assert computed.weight_after_caps == pytest.approx(50 / 0.9, abs=1e-3)


def test_texts_that_somebody_wrote_count_for_their_writers_in_the_caps():
    row = [("c", False, 1000, ["edit_rewritten"])]
    free = named(guards={"influence": {"actor": None, "prompt": None}})
    one_row = named(guards={"influence": {"actor": {"share": 1, "rows": 1}, "prompt": None}})
    both = labelled(*row, votes=[(0, 3, False)], rewrites=[(0, 1000, [3, 4])])
    prompts = pl.DataFrame({"completion_id": ["c"], "prompt": [1]})

    assert guards_of(free, both, [], both, prompts).weight_after_caps == 2.0
    capped = guards_of(one_row, both, [], both, prompts)
    # Actor 3 has a weight of 1.5, of which two thirds remain. Actor 4 keeps the other half.
    assert (capped.capped_rows, capped.weight_after_caps) == (2, 1.5)


def test_an_empty_log_gives_an_empty_preview():
    nothing = labelled()

    assert effect(named(), nothing, NO_GUARDS).nothing == 0
    assert matrix(flipped(nothing, nothing), examples_of(flipped(nothing, nothing)), {}, {}) == []
    assert unheard(wire.LabelPolicy(), nothing) == []
    none = pl.DataFrame(schema={"completion_id": pl.String, "prompt": pl.Int64})
    assert guards_of(named(), nothing, [], nothing, none) == NO_GUARDS


def test_the_order_in_which_two_readings_have_their_completions_makes_no_difference():
    turned = replace(AFTER, completions=AFTER.completions.reverse())

    columns = ["completion_id", "position", "name_before", "name_after"]
    assert flipped(BEFORE, turned).select(columns).sort("position").equals(flipped(BEFORE, AFTER).select(columns))
