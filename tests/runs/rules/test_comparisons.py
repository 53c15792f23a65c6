"""Planning and reading of comparisons and sweeps: points, budgets, promotions, pooled figures, recommendations."""

from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from thumbwheel import wire
from thumbwheel.wire.recipe import WITHOUT_LAMBDA, Recipe, recipe_of

from app.checkpoints.few_shots import FewShotReply
from app.checkpoints.held_out_scores import HeldOutScores, read, write
from app.errors import Invalid
from app.runs.comparisons.arm_figures import figures_of, figures_of_few_shots, figures_of_untouched, pooled
from app.runs.comparisons.arms import KNOWN, budget_changes, changes_of_arms, examples_of
from app.runs.comparisons.paired import auroc_difference, differences_over_samples, values_of, values_of_few_shots
from app.runs.comparisons.recommend import notices_of, recommend
from app.runs.comparisons.search import (
    Scored,
    changes_of,
    names_of,
    points_of,
    promoted,
    random_points,
    runs_of,
    survivors,
)
from app.runs.comparisons.trials import Halving, first_arms, next_rung, trials_of

SPACE: dict[str, Any] = {"beta": [0.1, 0.3], "lambda_undesirable": [1.0, 2.0, 4.0], "lora.rank": [8, 16]}


# -- arms -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KNOWN)
def test_every_known_arm_gives_a_valid_recipe_whatever_the_project_weighs(name):
    changes = {"lambda_desirable": 2.0, "lambda_undesirable": 1.0, "balance": "batch"}
    project = recipe_of("lora-small", changes)

    (arm,) = changes_of_arms([wire.NewArm(name=name)], project)

    assert arm is not None
    recipe = Recipe.model_validate({**project.model_dump(), **arm})
    assert recipe.objective == name
    assert (recipe.balance == "weights") == (recipe.objective in WITHOUT_LAMBDA)


def test_an_arm_of_whole_rows_leaves_the_weight_of_kept_tokens_to_the_project():
    project = Recipe(objective="tkto", edit_kept_weight=0.1)

    arms = changes_of_arms([wire.NewArm(name=name) for name in ("kto", "dpo")], project)

    assert arms == [{"objective": name, "edit_kept_weight": 1.0} for name in ("kto", "dpo")]


def test_changes_of_an_arm_go_over_those_of_its_name():
    arm = wire.NewArm(name="simpo", changes=wire.RecipeChanges(beta=2.5))

    assert changes_of_arms([arm], Recipe()) == [{"objective": "simpo", "beta": 2.5}]


def test_arms_that_are_not_trained_have_no_recipe():
    arms = [wire.NewArm(name=name) for name in ("untouched", "few_shots", "kto")]

    assert changes_of_arms(arms, Recipe()) == [None, None, {"objective": "kto"}]


def test_an_arm_with_a_base_model_has_the_projects_recipe_unless_it_has_a_known_name_or_changes():
    arms = [
        wire.NewArm(name="smaller", base_model="/models/small"),
        wire.NewArm(name="sft", base_model="/models/small"),
        wire.NewArm(name="kto"),
    ]

    assert changes_of_arms(arms, Recipe()) == [{}, {"objective": "sft"}, {"objective": "kto"}]


def test_the_number_of_examples_is_that_of_the_arm_or_of_the_project_or_four():
    eight = wire.NewArm.model_validate({"name": "few_shots", "changes": {"evaluation": {"few_shots": 8}}})
    unsaid = wire.NewArm(name="few_shots")
    project = recipe_of("lora-small", {"evaluation": {"few_shots": 2}})

    assert [examples_of(arm, project) for arm in (eight, unsaid, wire.NewArm(name="kto"))] == [8, 2, 0]
    assert examples_of(unsaid, Recipe()) == 4


@pytest.mark.parametrize(
    ("arms", "pointer", "message"),
    [
        (["kto", "ppo2"], "/arms/1", "there is no arm 'ppo2': take one of kto, dpo"),
        ([{"name": "untouched", "changes": {"beta": 0.2}}, "kto"], "/arms/0", "leave its changes out"),
        ([{"name": "untouched", "base_model": "/models/small"}, "kto"], "/arms/0", "leave base_model out"),
        ([{"name": "few_shots", "changes": {"beta": 0.2}}, "kto"], "/arms/0", "change evaluation.few_shots alone"),
        ([{"name": "few_shots", "changes": {"evaluation": {"few_shots": 0}}}, "kto"], "/arms/0", "from 1 to 16"),
        (["few_shots", {"name": "small", "base_model": "/m"}], "/arms", "no arm is trained from the shipped"),
    ],
)
def test_a_wrong_arm_is_named_with_its_remedy(arms, pointer, message):
    with pytest.raises(Invalid, match=message) as wrong:
        changes_of_arms(wire.NewComparison(arms=arms).named_arms(), Recipe())

    assert [fault.pointer for fault in wrong.value.faults] == [pointer]


def test_two_arms_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="kto is there twice: give each arm a name of its own"):
        wire.NewComparison(arms=["kto", {"name": "kto", "changes": {"beta": 0.2}}])


def test_a_budget_sets_the_same_limits_for_every_arm_and_never_raises_a_limit_of_the_recipe():
    budget = wire.ArmBudget(votes=500, tokens=10_000, steps=50)
    for objective in ("kto", "dpo", "sft"):
        changes, _ = budget_changes(budget, Recipe(objective=objective), 2000)
        assert changes == {"prompt_share": 0.25, "max_tokens": 10_000, "max_steps": 50}

    tight = Recipe(max_tokens=100, max_steps=5, prompt_share=0.1)
    assert budget_changes(budget, tight, 2000)[0] == {"prompt_share": 0.1, "max_tokens": 100, "max_steps": 5}
    assert budget_changes(wire.ArmBudget(votes=500), Recipe(), 400)[0] == {}  # there are fewer


@pytest.mark.parametrize(
    ("budget", "least"), [({"votes": 31}, "give 32 at least"), ({"tokens": 63}, "give 64 at least")]
)
def test_a_budget_below_one_step_names_the_least_that_works(budget, least):
    with pytest.raises(Invalid, match=least) as wrong:
        budget_changes(wire.ArmBudget(**budget), Recipe(), 2000)

    assert [fault.pointer for fault in wrong.value.faults] == [f"/budget/{next(iter(budget))}"]


# -- points of a sweep ------------------------------------------------------------------------------------------------


def test_a_grid_has_every_combination_once():
    points = points_of(wire.NewSweep(space=SPACE))

    assert len(points) == 12
    assert len({tuple(point.values()) for point in points}) == 12
    assert len(points_of(wire.NewSweep(space={"beta": [0.1, 0.1, 0.2]}))) == 2


def test_a_point_changes_fields_of_sections_and_is_named_by_its_values():
    point = {"beta": 0.1, "lora.rank": 8, "lora.alpha": 16}

    assert changes_of(point) == {"beta": 0.1, "lora": {"rank": 8, "alpha": 16}}
    assert names_of([point]) == ["beta=0.1,lora.rank=8,lora.alpha=16"]
    assert names_of([{"beta": 0.1, "x" * 40: 1, "y" * 40: 2}]) == ["point-1"]


def test_the_same_seed_draws_the_same_points_and_more_points_begin_with_them():
    space = {"beta": wire.ValueRange(low=0.01, high=1, scale="log"), "epochs": [1, 2, 3]}

    few, many = random_points(space, 5, 7), random_points(space, 20, 7)

    assert few == random_points(space, 5, 7) == many[:5]
    assert few != random_points(space, 5, 8)
    assert all(0.01 <= point["beta"] <= 1 for point in many)
    assert sum(point["beta"] < 0.1 for point in many) > 4  # as many decades as values


def test_a_small_space_gives_each_of_its_points_once():
    assert len(random_points({"epochs": [1, 2, 3]}, 10, 0)) == 3


@pytest.mark.parametrize(
    "space", [{"beta": [number / 100 for number in range(1, 60)], "seed": [1, 2]}, {"epochs": list(range(1, 40))}]
)
def test_too_many_runs_are_refused_before_anything_is_stored(space):
    with pytest.raises(Invalid, match="take fewer values") as wrong:
        points_of(wire.NewSweep(space=space, seeds=2))

    assert wrong.value.code == "too_many_runs"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"space": {"beta": {"low": 0.1, "high": 1}}}, "beta is a range, which needs points"),
        ({"space": {"lora": [{"rank": 4}], "lora.rank": [8]}}, "lora is there as a whole and by its fields"),
        ({"search": "random"}, "a random search needs a number of points"),
        ({"points": 4}, "a grid takes every combination"),
        ({"rungs": [1, 2]}, "only halving has rungs"),
        ({"search": "halving", "rungs": [5]}, "halving needs at least 2 rungs"),
        ({"search": "halving", "rungs": [5, 5]}, "each rung must train longer"),
        ({"search": "halving", "rungs": [5, 9], "space": {"max_steps": [1, 2]}}, "the rungs set max_steps"),
        ({"search": "halving", "rungs": [5, 9], "budget": {"steps": 9}}, "the rungs set the steps"),
        ({"space": {"beta": {"low": 1, "high": 0.1}}}, "is not below high"),
        ({"space": {"beta": {"low": 0, "high": 0.1, "scale": "log"}}}, "has no logarithm"),
    ],
)
def test_fields_that_do_not_fit_the_search_are_named(fields, message):
    with pytest.raises(ValidationError, match=message):
        wire.NewSweep(**{"space": {"beta": [0.1, 0.2]}, **fields})


# -- halving ----------------------------------------------------------------------------------------------------------


def test_each_rung_keeps_one_point_of_so_many_rounded_up():
    assert [survivors(9, rung, 3) for rung in range(4)] == [9, 3, 1, 1]
    assert [survivors(10, rung, 3) for rung in range(3)] == [10, 4, 2]
    sweep = wire.NewSweep(space={"epochs": list(range(1, 11))}, search="halving", rungs=[5, 10, 20])
    assert runs_of(10, sweep) == 16


def test_the_points_with_the_highest_auroc_within_the_budget_go_on():
    scored = [Scored(0, 0.6, 0.1), Scored(1, 0.9, 0.8), Scored(2, 0.7, 0.2), Scored(3, 0.65, 0.5)]

    assert promoted(scored, 2, 0.5) == [2, 3]
    assert promoted(scored, 4, 0.5) == [0, 1, 2, 3]  # beyond the budget only after all within it


def test_missing_figures_count_as_worst_and_of_equal_points_the_earlier_goes_on():
    missing = [Scored(0, None, 0.1), Scored(1, float("nan"), 0.1), Scored(2, 0.6, None), Scored(3, 0.5, 0.1)]

    assert promoted(missing, 1, 0.5) == [3]
    assert promoted(missing, 4, 0.5) == [2, 3]
    assert promoted([Scored(2, 0.7, 0.1), Scored(1, 0.7, 0.1), Scored(0, 0.6, 0.1)], 1, 0.5) == [1]


SCORED = st.lists(st.tuples(st.none() | st.floats(0, 1), st.none() | st.floats(0, 1)), min_size=1, max_size=12)


@given(SCORED, st.integers(1, 12))
def test_no_point_within_the_budget_stays_behind_a_worse_one(figures: Any, count: int) -> None:
    scored = [Scored(number, *each) for number, each in enumerate(figures)]

    kept = set(promoted(scored, count, 0.5))

    within = [each for each in scored if each.auroc is not None and each.kl is not None and each.kl <= 0.5]
    for left in (each for each in within if each.arm not in kept):
        assert len(kept) == count
        assert all(scored[arm] in within and scored[arm].auroc >= left.auroc for arm in kept)


def test_trials_give_every_arm_a_first_seed_before_any_gets_a_second():
    recipes = [{"seed": 5, "pairs": "compared"}, None, {"seed": 5, "pairs": "derived"}]

    trials = trials_of(recipes, first_arms(recipes), 2, 0, None)

    # the arm that derives pairs is first: its run builds the snapshot
    assert [(trial["arm"], trial["seed"]) for trial in trials] == [(2, 5), (0, 5), (2, 6), (0, 6)]


def test_a_rung_sets_its_resource_and_after_the_last_there_is_none():
    halving = Halving((10, 30), "max_steps", 3)
    (trial,) = trials_of([{"seed": 0, "max_steps": None}], [0], 1, 1, halving)
    scored = [Scored(0, 0.7, 0.1)]

    assert trial["recipe"] == {"seed": 0, "max_steps": 30}
    assert next_rung(scored, 1, 0, halving, 0.5) == [0]
    assert next_rung(scored, 1, 1, halving, 0.5) == next_rung(scored, 1, 0, None, 0.5) == []


# -- figures ----------------------------------------------------------------------------------------------------------


def figure(value: float, half: float = 0.02) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def test_the_figures_of_one_seed_are_those_of_its_scores():
    scores = {
        "auroc": figure(0.7),
        "kl": {"nats_per_token": figure(0.2)},
        "samples": {"against_shipped": {"length_ratio": figure(1.1)}},
        "suites": {"refusal": {"candidate": {"pass_share": figure(0.9)}, "shipped": {"pass_share": figure(0.8)}}},
    }

    figures = figures_of([scores])
    untouched = figures_of_untouched([{}, scores])

    assert figures["auroc"].value == 0.7
    assert figures["auroc"].low == pytest.approx(0.68)
    assert figures["length_ratio"].value == 1.1
    assert figures["suites"]["refusal"].value == 0.9
    assert untouched["suites"]["refusal"].value == 0.8
    assert (untouched["auroc"].value, untouched["kl_nats_per_token"].value) == (0.5, 0.0)


def test_the_figures_with_examples_are_those_of_the_first_scorer_that_read_as_many():
    def scores(count: int, auroc: float) -> dict[str, Any]:
        section = {
            "count": count, "auroc": figure(auroc), "kl": {"nats_per_token": figure(0.2)}, "rows_left_out": 3,
            "samples": {"against_shipped": {"length_ratio": figure(0.9)}},
        }  # fmt: skip
        share = {"pass_share": figure(0.85)}
        return {"few_shots": section, "suites": {"refusal": {"candidate": share, "few_shots": share}}}

    figures = figures_of_few_shots([{}, scores(2, 0.6), scores(4, 0.7), scores(4, 0.8)], 4)

    assert (figures["auroc"].value, figures["auroc"].reason) == (
        0.7,
        "3 held-out rows with examples exceed the context",
    )
    assert (figures["kl_nats_per_token"].value, figures["length_ratio"].value) == (0.2, 0.9)
    assert figures["suites"]["refusal"].value == 0.85
    assert figures_of_few_shots([{}], 4)["auroc"].reason == "no run has measured it"


def test_seeds_are_pooled_with_the_variation_between_prompts_and_between_trainings():
    values = [0.70, 0.74, 0.72]

    both = pooled([figure(value, 0.03) for value in values])

    between = 4.303 * 0.02 / sqrt(3)  # t with two degrees of freedom, the standard deviation of the three
    assert both.value == pytest.approx(0.72)
    assert both.low == pytest.approx(0.72 - sqrt(0.03**2 + between**2))
    assert both.high == pytest.approx(0.72 + sqrt(0.03**2 + between**2))


def test_a_seed_without_a_figure_leaves_the_arm_without_one_and_says_why():
    assert pooled([figure(0.7), {"value": None, "reason": "one class is absent"}]).reason == "one class is absent"
    assert pooled([figure(0.7), figure(float("nan"))]).value is None
    assert pooled([]).reason == "no run of the arm has registered a checkpoint"
    assert pooled([{"value": 1.2}]) == wire.ArmFigure(value=1.2, reason="it has no interval")


# -- recommendations --------------------------------------------------------------------------------------------------


def arm(
    name: str,
    auroc: float | None = 0.7,
    kl: float = 0.1,
    half: float = 0.02,
    rung: int = 0,
    base_model: str | None = None,
) -> wire.ArmResult:
    missing = wire.ArmFigure(reason="one class is absent")
    return wire.ArmResult(
        name=name,
        changes=wire.StoredRecipe(),
        base_model=base_model,
        budget=[],
        runs=[],
        rung=rung,
        seeds=1,
        auroc=missing if auroc is None else wire.ArmFigure(**figure(auroc, half)),
        kl_nats_per_token=wire.ArmFigure(**figure(kl, 0.01)),
        length_ratio=wire.ArmFigure(),
        suites={},
    )


def test_the_arm_whose_interval_is_above_all_others_is_recommended_with_its_figures():
    recommendation = recommend([arm("sft", 0.6), arm("kto", 0.8), arm("untouched", 0.5)], 0.5)

    assert (recommendation.arm, recommendation.leading) == ("kto", "kto")
    assert recommendation.reason.startswith("kto has the highest held-out AUROC, 0.800 (0.780 to 0.820)")
    assert "within the budget of 0.5" in recommendation.reason


def test_no_arm_is_clearly_better_where_the_intervals_overlap():
    recommendation = recommend([arm("sft", 0.78), arm("kto", 0.8)], 0.5)

    assert (recommendation.arm, recommendation.leading) == (None, "kto")
    assert recommendation.reason.startswith("No arm is clearly better: kto has the highest")
    assert "sft 0.780" in recommendation.reason


def test_a_paired_lead_decides_where_the_intervals_of_the_arms_overlap():
    arms = [arm("sft", 0.78), arm("kto", 0.8), arm("untouched", 0.5)]
    clear, open_ = wire.ArmFigure(**figure(0.02, 0.01)), wire.ArmFigure(**figure(0.02, 0.03))

    recommended = recommend(arms, 0.5, {"sft": clear, "untouched": wire.ArmFigure(**figure(0.3))})
    undecided = recommend(arms, 0.5, {"sft": open_})

    assert recommended.arm == "kto"
    assert "it is above sft by 0.020 (0.010 to 0.030) on the same rows" in recommended.reason
    assert undecided.arm is None
    assert "its lead over sft is 0.020 (-0.010 to 0.050) on the same rows" in undecided.reason


def test_an_arm_beyond_the_budget_is_passed_over_however_good_it_is():
    recommendation = recommend([arm("dpo", 0.95, kl=0.6), arm("kto", 0.7)], 0.5)

    assert recommendation.arm == "kto"
    assert recommendation.passed_over == {"dpo": "its drift may be 0.61 nats a token, beyond the budget of 0.5"}
    assert "Passed over: dpo" in recommendation.reason


def test_an_arm_that_may_be_no_better_than_the_untouched_model_is_not_recommended():
    recommendation = recommend([arm("kto", 0.51)], 0.5)

    assert (recommendation.arm, recommendation.leading) == (None, "kto")
    assert "its interval reaches 0.5" in recommendation.reason


def test_examples_may_lead_but_never_without_the_words_that_they_are_a_prompt_and_no_checkpoint():
    arms = [arm("kto", 0.7), arm("few_shots", 0.8), arm("untouched", 0.5)]

    recommendation = recommend(arms, 0.5)

    assert (recommendation.arm, recommendation.leading) == ("few_shots", "few_shots")
    assert "few_shots is a prompt, not a checkpoint: nothing of it can ship" in recommendation.reason
    assert any("not a checkpoint" in notice for notice in notices_of(arms, [], 1))
    assert recommend([arm("kto", 0.8), arm("few_shots", 0.7)], 0.5).arm == "kto"
    assert recommend([arm("kto", 0.8), arm("few_shots", 0.79)], 0.5).arm is None  # training is not clearly better


def test_an_arm_with_a_base_model_of_its_own_is_passed_over_because_its_figures_are_against_that():
    arms = [arm("smaller", 0.9, base_model="/models/small"), arm("kto", 0.7)]

    recommendation = recommend(arms, 0.5)

    assert recommendation.arm == "kto"
    assert "measured against a base model of its own" in recommendation.passed_over["smaller"]
    assert any("smaller (/models/small)" in notice for notice in notices_of(arms, [], 1))


def test_missing_figures_and_earlier_rungs_are_passed_over_with_the_reason():
    recommendation = recommend([arm("a", None, rung=1), arm("b", 0.9, rung=0)], 0.5)

    assert (recommendation.arm, recommendation.leading) == (None, None)
    assert recommendation.passed_over == {"a": "no held-out AUROC (one class is absent)", "b": "left after rung 1 of 2"}


def test_of_equal_arms_the_first_leads():
    assert recommend([arm("a", 0.7), arm("b", 0.7)], 0.5).leading == "a"


def test_notices_say_what_is_not_paired_and_what_one_seed_leaves_out():
    one, several = notices_of([arm("kto")], [], 1), notices_of([arm("kto"), arm("untouched")], [], 2)

    assert "There are no paired differences between arms." in one
    assert any("With one seed" in notice for notice in one)
    assert "Fewer than 2 seeds gave a checkpoint: kto." in several


# -- paired differences -----------------------------------------------------------------------------------------------


def row(group: str, tokens: int, **other: Any) -> dict[str, Any]:
    known = {"source": "holdout", "model": "candidate", "decoding": "sampled", "lp_candidate": -4.0, "lp_shipped": -5.0}
    return {**known, "group": group, "tokens": tokens, **other}


def test_a_prompt_has_the_mean_of_its_drawn_held_out_samples():
    rows = [
        row("a", 4), row("a", 8, lp_shipped=-7.0), row("a", 99, decoding="greedy"), row("a", 99, model="ancestor"),
        row("a", 99, source="suite"), row("a", 6, model="shipped"),
    ]  # fmt: skip

    assert values_of(rows, "candidate") == {"a": (6.0, 2.0)}
    assert values_of(rows, "shipped") == {"a": (6.0, 0.0)}


def test_only_prompts_of_both_arms_are_compared_and_missing_log_probs_are_left_out():
    first = values_of([row("a", 4), row("b", 6), row("c", 1)], "candidate")
    second = values_of([row("b", 5), row("c", 1, lp_candidate=None), row("d", 9)], "candidate")

    prompts, tokens, nats = differences_over_samples(first, second)

    assert (prompts, tokens.value, nats.value) == (2, 0.5, 0.0)
    assert differences_over_samples(first, {})[0] == 0


def test_replies_after_examples_are_matched_by_the_places_of_their_prompts_unless_an_erasure_moved_them():
    rows = [row("a", 4), row("a", 5, model="shipped"), row("b", 6), row("x", 9, source="suite")]
    replies = [FewShotReply(1, 2, 7, -3.0, -4.0)]

    assert values_of_few_shots(replies, rows) == {"b": (7.0, 1.0)}
    assert values_of_few_shots(replies, rows[:2]) == {}


def held_out(log_ratio_N: np.ndarray, first: int = 0) -> HeldOutScores:
    """Returns scores of rows on prompts of their own, half of them desirable."""
    rows = np.arange(len(log_ratio_N))
    places = [("holdout-text.parquet", first + int(row)) for row in rows]
    return HeldOutScores(places, rows, rows % 2 == 0, np.ones(len(rows)), log_ratio_N)


def test_aurocs_of_two_arms_on_the_same_rows_differ_by_a_paired_interval(tmp_path):
    draw = np.random.default_rng(0)
    shared_N = draw.normal(size=400) + (np.arange(400) % 2 == 0)
    better, worse = held_out(shared_N), held_out(shared_N - 0.2 * (np.arange(400) % 2 == 0))

    paired = auroc_difference(better, worse)
    to_reference = auroc_difference(better, None)

    assert paired["value"] == pytest.approx(to_reference["value"] - auroc_difference(worse, None)["value"])
    assert 0 < paired["low"] < paired["value"] < paired["high"]
    # the same rows cancel: neither arm's own interval is as narrow
    assert paired["high"] - paired["low"] < (to_reference["high"] - to_reference["low"]) / 2
    # rows that only one arm has do not count, and their order has no effect
    some = held_out(worse.log_ratio_N).of([*worse.places[::-1]][:300])
    assert auroc_difference(better, some)["value"] == pytest.approx(auroc_difference(some, better)["value"] * -1)
    # the file gives back what was written
    write(tmp_path / "scores", better)
    again = read(tmp_path / "scores")
    assert (again.places, again.log_ratio_N.tolist()) == (better.places, better.log_ratio_N.tolist())
    assert auroc_difference(again, worse) == paired
