"""`make compare`: the plans of its arms, the feedback, the figures over tickets and seeds, and cached trials."""

import io
import json
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from math import sqrt
from pathlib import Path
from random import Random
from typing import Any

import pytest
from rich.console import Console
from thumbwheel.wire.recipe import recipe_of

from benchmarks.compare.__main__ import Study, arms_named, main, seeds_in, write
from benchmarks.compare.arms import (
    ARMS,
    EPOCHS,
    KTO,
    PRESET,
    UNTOUCHED,
    best_setting,
    length_of_training,
    settings_of,
    steps_per_epoch,
    votes_of,
)
from benchmarks.compare.feedback import Judged, Size, collected, held_out_tickets, write_feedback
from benchmarks.compare.figures import document
from benchmarks.compare.plot import svg
from benchmarks.compare.table import lines, table
from benchmarks.desk_study.over_seeds import interval
from benchmarks.desk_study.trials import Trial, finish, key, progress_bar
from worker.demo.language import Ticket, good, new_ticket, typical_reply
from worker.training.machine.process import TrainingRefusal

FEEDBACK = Size().feedback
TINY = Size(rows=60, compared_share=0.2, tickets=6, base_steps=3)
TRAINED = [arm for arm in ARMS if arm.objective]
Trials = dict[tuple[str, str, int], Mapping[str, Any]]


def outcomes_of(good: list[int], words: int = 20, log_ratio: float = 1.0) -> dict[str, Any]:
    outcomes = {
        "good": good,
        "invented_refund": [0] * len(good),
        "unclear": [1 - value for value in good],
        "words": [words] * len(good),
        "log_ratio": [log_ratio] * len(good),
    }
    return {"votes": 100, "tokens": 5000, "steps": 10, "outcomes": outcomes}


# Plans


@pytest.mark.parametrize("arm", TRAINED, ids=lambda arm: arm.name)
def test_every_setting_of_an_arm_gives_a_valid_recipe_at_each_budget(arm: Any) -> None:
    for budget in arm.budgets:
        for setting in settings_of(arm):
            recipe = recipe_of(PRESET, {**setting.changes, **length_of_training(arm, budget, FEEDBACK)})
            assert recipe.objective == arm.objective


def test_every_arm_but_the_untouched_model_tries_three_settings() -> None:
    assert {arm.name: len(settings_of(arm)) for arm in ARMS} == {arm.name: 1 if arm == UNTOUCHED else 3 for arm in ARMS}


@pytest.mark.parametrize("arm", TRAINED, ids=lambda arm: arm.name)
def test_at_equal_steps_an_arm_makes_as_many_steps_as_kto(arm: Any) -> None:
    steps = EPOCHS * steps_per_epoch(KTO, FEEDBACK)
    if arm.budgets == ("votes",):
        assert EPOCHS * steps_per_epoch(arm, FEEDBACK) == steps
        return

    plan = length_of_training(arm, "steps", FEEDBACK)

    assert plan["max_steps"] == steps
    assert (
        (plan["epochs"] - 1) * steps_per_epoch(arm, FEEDBACK) < steps <= plan["epochs"] * steps_per_epoch(arm, FEEDBACK)
    )


def test_an_arm_counts_the_judgements_that_its_objective_can_use() -> None:
    votes = {arm.name: votes_of(arm, FEEDBACK, arm.shots) for arm in ARMS}

    assert (FEEDBACK.desirable, FEEDBACK.undesirable, FEEDBACK.pairs) == (504, 1296, 133)
    assert votes["kto"] == votes["bco"] == votes["apo_zero_unpaired"] == votes["smaller_base_kto"] == 1800 - 133
    assert votes["dpo"] == votes["ipo"] == votes["simpo"] == votes["orpo"] == 133
    assert (votes["sft"], votes["untouched"], votes["untouched_few_shots"]) == (504, 0, 2)


def test_the_best_setting_has_most_good_replies_and_a_failed_one_is_the_last_choice() -> None:
    first, second, third = settings_of(KTO)

    assert best_setting((first, second, third), [0.5, 0.7, 0.6]) == second
    assert best_setting((first, second, third), [0.5, None, 0.5]) == first
    assert best_setting((first, second, third), [None, 0.0, None]) == second


def test_a_part_of_the_study_includes_the_untouched_model() -> None:
    assert [arm.name for arm in arms_named(["sft", "kto"])] == ["kto", "sft", "untouched"]
    assert arms_named([]) == list(ARMS)


# Feedback


def replies(good: int, bad: int) -> list[Judged]:
    return [Judged(f"ticket {number}", f"reply {number}", number < good) for number in range(good + bad)]


def comparable(count: int) -> list[tuple[Judged, Judged]]:
    return [
        (Judged(f"compared {number}", "better", good=True), Judged(f"compared {number}", "worse", good=False))
        for number in range(count)
    ]


def test_the_feedback_has_its_proportions_and_a_tenth_of_each_kind_is_wrong() -> None:
    rows, pairs = collected(replies(500, 1200), comparable(140), Size(), Random(1))

    assert (len(rows), sum(row.desirable for row in rows), len(pairs)) == (1800, 504, 133)
    prompts = {row.prompt for row in rows}
    assert len(pairs) / len(prompts) == pytest.approx(0.08, abs=0.001)
    assert len(prompts) == len(rows) - len(pairs)  # only the two replies of a comparison share a prompt
    assert all(rows[chosen].prompt == rows[rejected].prompt for chosen, rejected in pairs)
    assert all(rows[chosen].desirable and not rows[rejected].desirable for chosen, rejected in pairs)
    assert sum(rows[chosen].completion == "worse" for chosen, _ in pairs) == 13
    truth = {reply.prompt: reply.good for reply in replies(500, 1200)}
    single = [row for row in rows if row.prompt in truth]
    wrong = [row.desirable for row in single if row.desirable != truth[row.prompt]]
    assert (wrong.count(True), wrong.count(False)) == (37, 116)


@pytest.mark.parametrize(
    ("good", "bad", "compared", "missing"), [(500, 1200, 132, "comparisons"), (400, 1200, 140, "labels")]
)
def test_too_few_replies_are_an_error(good: int, bad: int, compared: int, missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        collected(replies(good, bad), comparable(compared), Size(), Random(1))


def test_the_held_out_tickets_differ_from_each_other_and_are_the_same_for_a_seed() -> None:
    tickets = held_out_tickets(1, Size())

    assert len({ticket.prompt for ticket in tickets}) == len(tickets) == 2000
    assert held_out_tickets(1, Size()) == tickets != held_out_tickets(2, Size())


# Figures


def test_with_one_seed_two_arms_are_compared_ticket_by_ticket() -> None:
    good = [1] * 50 + [0] * 50
    better = [1] * 60 + [0] * 40  # all that KTO's replies solve, and ten more
    arms = document(
        {("kto", "votes", 1): outcomes_of(good), ("sft", "votes", 1): outcomes_of(better, words=30),
         ("untouched", "votes", 1): outcomes_of([0] * 100)}, [1],
    )  # fmt: skip

    sft = arms["sft"]
    assert (sft["good_share"], sft["length_ratio"], sft["kl_nats"]) == (0.6, 1.5, 1.0)
    assert sft["low"] == pytest.approx(0.5020, abs=1e-4)  # Wilson's, for 60 of 100
    assert sft["difference_to_kto"]["value"] == pytest.approx(0.1)
    # The paired difference is 1 on a tenth of the tickets and 0 elsewhere: ±1.96·√(0.1·0.9/100), not ±0.14.
    half = 1.96 * sqrt(0.1 * 0.9 / 100)
    assert sft["difference_to_kto"]["low"] == pytest.approx(0.1 - half, abs=0.015)
    assert sft["difference_to_kto"]["high"] == pytest.approx(0.1 + half, abs=0.015)
    assert arms["kto"]["difference_to_kto"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def several_seeds(shares: Mapping[str, list[float]]) -> Trials:
    return {
        (arm, "votes", seed): outcomes_of([1] * round(100 * share) + [0] * round(100 - 100 * share))
        for arm, of_arm in shares.items()
        for seed, share in enumerate(of_arm, start=1)
    }


def test_with_several_seeds_their_spread_decides_the_interval() -> None:
    shares = {"kto": [0.7, 0.8, 0.9], "sft": [0.6, 0.7, 0.8], "untouched": [0.4, 0.4, 0.4]}

    arms = document(several_seeds(shares), [1, 2, 3])

    half = 4.303 * 0.1 / sqrt(3)  # t of 2 degrees of freedom, s = 0.1
    assert arms["kto"]["seeds"] == 3
    assert arms["kto"]["good_share"] == pytest.approx(0.8)
    assert (arms["kto"]["low"], arms["kto"]["high"]) == (pytest.approx(0.8 - half), pytest.approx(0.8 + half))
    # Both arms rise and fall with the seed, so their difference is certain.
    assert arms["sft"]["difference_to_kto"] == pytest.approx({"value": -0.1, "low": -0.1, "high": -0.1})


def test_the_interval_over_five_seeds_covers_the_truth_as_often_as_it_says() -> None:
    rng = Random(1)
    covered = 0
    for _ in range(2000):
        # A seed's share varies by itself, and by its 100 tickets.
        shares = [
            sum(rng.random() < level for _ in range(100)) / 100 for level in (rng.gauss(0.7, 0.05) for _ in "12345")
        ]
        found = interval(shares)
        assert found["low"] is not None
        assert found["high"] is not None
        covered += found["low"] <= 0.7 <= found["high"]

    assert 0.93 <= covered / 2000 <= 0.97


def test_a_failed_training_is_listed_and_left_out_of_the_figures() -> None:
    trials = several_seeds({"kto": [0.7, 0.8], "dpo": [0.5, 0.6], "untouched": [0.4, 0.4]})
    trials["dpo", "votes", 2] = {"failure": "not finite"}

    dpo = document(trials, [1, 2])["dpo"]

    assert (dpo["seeds"], dpo["good_share"], dpo["failures"]) == (1, 0.5, {"2": "not finite"})
    assert dpo["difference_to_kto"]["value"] == pytest.approx(-0.2)

    nothing = document({**trials, ("dpo", "votes", 1): {"failure": "not finite"}}, [1, 2])["dpo"]
    assert nothing["good_share"] is nothing["difference_to_kto"]["value"] is nothing["steps"] is None


def test_figures_at_equal_steps_are_those_of_a_training_of_their_own_if_there_is_one() -> None:
    trials = several_seeds({"kto": [0.7], "dpo": [0.5], "untouched": [0.4]})
    trials["dpo", "steps", 1] = {**outcomes_of([0] * 100, log_ratio=13.0), "steps": 114}

    arms = document(trials, [1])

    assert (arms["dpo"]["good_share"], arms["dpo"]["at_equal_steps"]["good_share"]) == (0.5, 0.0)
    assert arms["dpo"]["at_equal_steps"]["kl_nats"] == 13.0
    assert arms["kto"]["at_equal_steps"] == {name: arms["kto"][name] for name in arms["kto"]["at_equal_steps"]}
    assert [(arm, budget) for arm, budget, _ in lines(arms)] == [
        ("kto", "votes and steps"), ("dpo", "votes"), ("dpo", "steps"), ("untouched", "votes and steps")
    ]  # fmt: skip


def test_table_and_plot_show_every_arm_and_the_same_figures_give_the_same_plot() -> None:
    trials = several_seeds({"kto": [0.7], "dpo": [0.5], "untouched": [0.4]})
    trials["sft", "votes", 1] = {"failure": "not finite"}
    arms = document(trials, [1])
    console = Console(file=io.StringIO(), width=200)

    console.print(table(arms, 1))

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(name in text for name in ("kto", "dpo", "untouched", "sft (1 failed)", "70.0 (60.4…78.1)", "-20.0"))
    plot = svg(arms, "a title")
    assert plot == svg(arms, "a title")
    assert all(f">{name}<".encode() in plot for name in ("kto", "dpo", "untouched", "a title"))


# Trials


def figures(work: Path, log: Path, name: str) -> dict[str, Any]:
    with log.open("a") as file:
        file.write(f"{name}\n")
    work.mkdir(parents=True)
    if name == "refused":
        raise TrainingRefusal("rows", "too few rows")
    if name == "broken":
        raise ZeroDivisionError
    return {"name": name}


def test_a_study_resumes_with_the_trials_that_are_not_finished(tmp_path: Path) -> None:
    log = tmp_path / "log"
    trials = [
        Trial(name, tmp_path / name, figures, (log, name), cost)
        for name, cost in (("short", 1.0), ("long", 3.0), ("refused", 2.0), ("broken", 0.5))
    ]
    bar = progress_bar(Console(file=io.StringIO()))

    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
        finish(trials, pool, bar, "trials", str)
    with ThreadPoolExecutor(1) as pool:
        finish(trials[:3], pool, bar, "trials", str)

    assert log.read_text().split() == ["long", "refused", "short", "broken"]
    assert [trial.finished for trial in trials] == [True, True, True, False]
    assert trials[0].figures == {"name": "short"}
    assert trials[2].figures == {"failure": "too few rows"}
    assert not (tmp_path / "short" / "work").exists()


def test_a_trial_of_other_settings_has_another_folder() -> None:
    assert key("code", 1, {"beta": 0.5}) == key("code", 1, {"beta": 0.5}) != key("code", 1, {"beta": 1.0})
    assert key("code", 1, {}) != key("changed code", 1, {}) != key("changed code", 2, {})


def test_the_file_of_results_says_how_many_seeds_it_has(tmp_path: Path) -> None:
    out = tmp_path / "results" / "compare.json"
    arms = document(several_seeds({"kto": [0.7, 0.8], "untouched": [0.4, 0.4]}), [1, 2])

    assert seeds_in(out) == 0
    write(out, {"seeds": 2, "size": {"tickets": 100}, "arms": arms})

    assert seeds_in(out) == 2
    assert json.loads(out.read_bytes())["arms"] == arms
    assert out.with_suffix(".svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "kto,ppo"], "unknown name 'ppo'"),
        (["--seeds", "1,1"], "each once"),
        (["--seeds", "0,1"], "seed 0 is for the choice"),
        (["--jobs", "0"], "expected 1 or more"),
    ],
)
def test_invalid_arguments_end_with_2_and_name_the_option(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["compare", *arguments])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def judged(ticket: Ticket, reply: str) -> Judged:
    return Judged(ticket.prompt, reply, good(ticket, reply))


def typical_replies(count: int) -> list[Judged]:
    rng = Random(2)
    tickets = [new_ticket(rng) for _ in range(count)]
    return [judged(ticket, typical_reply(ticket, rng)) for ticket in tickets]


def typical_comparisons(count: int) -> list[tuple[Judged, Judged]]:
    rng = Random(3)
    tickets = [new_ticket(rng) for _ in range(count)]
    drafts = [
        (judged(ticket, typical_reply(ticket, rng)), judged(ticket, typical_reply(ticket, rng))) for ticket in tickets
    ]
    return [(first, second) for first, second in drafts if first.good and not second.good]


@pytest.mark.trial
def test_a_study_trains_measures_and_keeps_each_trial(tmp_path: Path) -> None:
    arms = [arm for arm in ARMS if arm.name in ("kto", "dpo", "untouched", "untouched_few_shots", "smaller_base_kto")]
    console = Console(file=io.StringIO())
    # A base model of three steps has no good replies that could be compared, so the feedback is on typical ones.
    folder = Study(arms, [1], TINY, tmp_path).world_folder(1)
    folder.mkdir()
    write_feedback(folder, *collected(typical_replies(200), typical_comparisons(200), TINY, Random(1)))

    with ThreadPoolExecutor(1) as pool:
        chosen, results = Study(arms, [1], TINY, tmp_path).run(pool, console, choose=False)
        kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/figures.json")}
        again = Study(arms, [1], TINY, tmp_path).run(pool, console, choose=False)

    assert again == (chosen, results)
    assert kept == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/figures.json")}
    assert len(kept) == len(results) == 6  # one of each arm, and dpo at KTO's steps
    assert not list(tmp_path.glob("*/work"))
    assert [trial["failure"] for trial in results.values() if "failure" in trial] == []
    report = document(results, [1])
    assert report["kto"]["steps"] == report["dpo"]["at_equal_steps"]["steps"] == 4 > report["dpo"]["steps"]
    assert report["untouched"]["kl_nats"] == 0 < report["untouched_few_shots"]["kl_nats"]
    assert all(0 <= arm["good_share"] <= 1 for arm in report.values())
