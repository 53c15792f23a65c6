"""Problems of a training are reported with a remedy; a healthy run gets no warning."""

import hashlib
import re
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from thumbwheel.wire.recipe import Recipe

from tests.trainer import tiny
from worker.training.data import batches
from worker.training.data.rows import Row, TokenisedRows
from worker.training.train import train
from worker.training.watch.diagnosis import findings
from worker.training.watch.plan_diagnosis import of_rows

Line = Callable[[int], Mapping[str, Any]]


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate({**tiny.RECIPE, "lambda_desirable": 1.0, **changes})


def metrics(steps: int, line: Line = lambda _step: {}, total_steps: int = 40) -> list[dict[str, Any]]:
    """Returns the metrics of a healthy run of KTO, with the changes of `line` to each step."""
    noise = np.random.default_rng(0).normal(0, 0.05, (steps + 1, 2))
    return [
        {
            "step": step, "total_steps": total_steps, "loss_desirable": 0.5 - 0.01 * step,
            "loss_undesirable": 0.5 - 0.008 * step, "reward_desirable": 0.1 * step + noise[step, 0],
            "reward_undesirable": -0.05 * step, "margin": 0.15 * step, "z0": 0.1, "z0_raw": 10 * noise[step, 1],
            "z0_clamped_share": float(noise[step, 1] < 0),
            "gradient_norm_desirable": 1.0 if step % 5 == 1 else None,
            "gradient_norm_undesirable": 4.0 if step % 5 == 1 else None,
            "kl_nats_per_token": 0.01 * step if step % 10 == 0 else None,
            "sampled_length_median": 21.0 + step % 3 if step % 10 == 0 else None,
            "reference_length_median": 22.0 if step % 10 == 0 else None,
            **line(step),
        }
        for step in range(1, steps + 1)
    ]  # fmt: skip


def codes(lines: list[dict[str, Any]], of: Recipe | None = None) -> list[str]:
    return [finding.code for finding in findings(lines, of or recipe())]


#: Rewards of a policy that remains equal to the reference.
STILL = {"reward_desirable": 0.001, "reward_undesirable": 0.001, "margin": 0.0}

SICK: dict[str, tuple[dict[str, Any], Line, str]] = {
    "rewards_fall": (
        {"objective": "kto"},
        lambda s: {"reward_desirable": -0.1 * s, "reward_undesirable": -0.2 * s},
        "lower learning_rate .*or raise beta",
    ),
    "nothing_learned": (
        {"objective": "kto"},
        lambda _s: {**STILL, "loss_desirable": 0.501, "loss_undesirable": 0.499},
        r"stays at mean\(lambda\)/2: nothing is learned: raise learning_rate",
    ),
    "nothing_learned in bco": (
        {"objective": "bco"},
        lambda _s: {**STILL, "loss_desirable": 0.694, "loss_undesirable": 0.692},
        r"stays at mean\(lambda\)·log\(2\)",
    ),
    "nothing_learned in dpo": (
        {"objective": "dpo"},
        lambda s: {**STILL, "loss_desirable": None, "loss_undesirable": None, "margin": 0.001 * (-1) ** s},
        "rewards of both classes stay equal: nothing is learned: raise learning_rate",
    ),
    "classes_not_separated where both move with z0, so that the loss stays": (
        {"objective": "kto"},
        lambda s: {
            "loss_desirable": 0.5,
            "loss_undesirable": 0.5,
            "reward_desirable": 0.01 * s,
            "margin": 0.0,
            "reward_undesirable": 0.01 * s,
            "z0": 0.1 * s,
        },
        "move alike .*tell.* apart: check whether the labels say anything.*lower learning_rate",
    ),
    "classes_not_separated where the margin stays below 0": (
        {"objective": "kto"},
        lambda _s: {"reward_desirable": -0.05, "reward_undesirable": 0.05, "margin": -0.1},
        "lower learning_rate",
    ),
    "classes_not_separated where a small beta keeps rewards and loss in place": (
        {"objective": "kto", "beta": 0.001},
        lambda _s: {
            "loss_desirable": 0.5,
            "loss_undesirable": 0.5,
            "reward_desirable": 0.0045,
            "reward_undesirable": 0.0045,
            "margin": 0.0,
            "z0": 4.5,
            "gradient_norm": 3.7,
        },
        "move alike .*lower learning_rate",
    ),
    "classes_not_separated where completions of other prompts alone have moved": (
        {"objective": "kto", "beta": 0.001},
        lambda _s: {
            "loss_desirable": 0.501,
            "loss_undesirable": 0.499,
            "reward_desirable": 0.0001,
            "reward_undesirable": 0.0,
            "margin": 0.0001,
            "z0": 4.5,
        },
        "move alike .*lower learning_rate",
    ),
    "beta_too_small where the classes are apart and the loss has not followed": (
        {"objective": "kto", "beta": 0.001},
        lambda _s: {
            "loss_desirable": 0.499,
            "loss_undesirable": 0.499,
            "reward_desirable": 0.004,
            "reward_undesirable": -0.004,
            "margin": 0.008,
            "z0": 0.5,
        },
        r"stays at mean\(lambda\)/2, but the policy has moved by 4 nats: beta \(it is 0\.001\) .* raise beta",
    ),
    "z0_clamped": (
        {},
        lambda s: {"z0": 0.0, "z0_raw": -3.0, "z0_clamped_share": 1.0 if s % 4 else 0.0},
        "in 30 of the last 40 steps.*lower learning_rate.*apo_zero_unpaired",
    ),
    "gradients_apart": (
        {},
        lambda s: {"gradient_norm_desirable": 45.0 if s % 5 == 1 else None},
        "desirable rows pull over 10 times as hard as undesirable ones .*raise lambda_undesirable, or set balance",
    ),
    "gradients_apart of mo_kto": (
        {"objective": "mo_kto", "labels": [{"name": "true"}]},
        lambda s: {"gradient_norm_desirable": 0.0 if s % 5 == 1 else None},
        "undesirable rows pull over 10 times .*raise lambda_desirable in labels$",
    ),
    "drift_over_budget": (
        {"drift": {"kl_budget": 0.3}},
        lambda _s: {},
        r"0\.4 nats a token away from the reference, drift\.kl_budget is 0\.3: raise beta",
    ),
    "length_drift": (
        {},
        lambda s: {"sampled_length_median": 17.0} if s % 10 == 0 else {},
        "completions get shorter: 17 tokens in the median, the reference's have 22",
    ),
    "length_drift upwards": (
        {},
        lambda s: {"sampled_length_median": 28.0} if s % 10 == 0 else {},
        "completions get longer",
    ),
}


@pytest.mark.parametrize("case", SICK)
def test_a_sick_run_gets_a_diagnosis_and_a_remedy(case: str) -> None:
    changes, line, expected = SICK[case]

    warnings = findings(metrics(40, line), recipe(**changes))

    assert [finding.code for finding in warnings] == [case.split()[0]]
    assert re.search(expected, warnings[0].message)


@pytest.mark.parametrize(("first", "second"), combinations([case for case in SICK if "mo_kto" not in case], 2))
def test_no_two_remedies_move_the_learning_rate_in_different_directions(first: str, second: str) -> None:
    both = [(SICK[first], SICK[second]), (SICK[second], SICK[first])]
    for (changes, line, _), (other_changes, other_line, _) in both:

        def together(step: int, line: Line = line, other_line: Line = other_line) -> Mapping[str, Any]:
            return {**line(step), **other_line(step)}

        warnings = findings(metrics(40, together), recipe(**{**other_changes, **changes}))

        directions = {
            way for way in ("lower", "raise") for finding in warnings if f"{way} learning_rate" in finding.message
        }
        assert len(directions) <= 1
        assert directions == {finding.learning_rate for finding in warnings} - {None}


def test_a_collapsed_run_does_not_also_get_the_advice_to_raise_its_learning_rate() -> None:
    # given rewards that fall together, and losses that suggest that nothing is learnt
    def collapsed(step: int) -> dict[str, Any]:
        fall = -0.2 * step
        rewards = {"reward_desirable": fall, "reward_undesirable": fall - 0.001, "margin": 0.001}
        return {**rewards, "loss_desirable": 0.5, "loss_undesirable": 0.5}

    assert codes(metrics(40, collapsed), recipe(drift={"kl_budget": 1})) == ["rewards_fall", "classes_not_separated"]


def test_classes_that_part_late_or_hardly_move_are_left_in_peace() -> None:
    quiet = recipe(drift={"kl_budget": 1})

    assert codes(metrics(40, lambda s: {"reward_desirable": -0.3 + 0.02 * s, "reward_undesirable": 0.0}), quiet) == []
    assert codes(metrics(40, lambda _s: {"reward_desirable": 0.01, "reward_undesirable": 0.012}), quiet) == []
    early = metrics(19, lambda s: {"reward_desirable": 0.1 * s, "reward_undesirable": 0.1 * s})
    assert codes(early, quiet) == []


def test_a_real_run_on_contradictory_labels_is_found_not_to_separate_the_classes(tmp_path: Path, base: Path) -> None:
    rows = [{**row, "label": label} for row in tiny.text_rows(20) for label in (True, False)]
    workdir = tiny.stage(tmp_path / "w", base, rows, objective="apo_zero_unpaired", epochs=8, learning_rate=3e-3)

    train(workdir)

    messages = {line["code"]: line["message"] for line in tiny.lines(workdir / "warnings.jsonl")}
    assert "classes_not_separated" in messages
    assert not any("raise learning_rate" in message for message in messages.values())
    left = tiny.document(workdir / "training.json")["findings"]
    assert "classes_not_separated" in [finding["code"] for finding in left]


@pytest.mark.parametrize("objective", ["kto", "tkto", "apo_zero_unpaired", "bco", "ppo_clip"])
def test_a_healthy_run_is_left_in_peace(objective: str) -> None:
    for steps in range(41):
        assert codes(metrics(steps), recipe(objective=objective, drift={"kl_budget": 1})) == []


@pytest.mark.parametrize("objective", ["sft", "dpo", "simpo", "orpo"])
def test_rules_that_an_objective_gives_no_figures_for_do_not_speak(objective: str) -> None:
    # given lines of an objective without classes and without z0, whose rewards are mean log-probs
    absent = dict.fromkeys(
        ("loss_desirable", "loss_undesirable", "z0", "z0_raw", "z0_clamped_share", "gradient_norm_desirable")
    )
    pairless = {"reward_undesirable": None, "margin": None} if objective == "sft" else {}

    def line(step: int) -> dict[str, Any]:
        start = 0 if objective == "dpo" else -3
        return {**absent, "reward_desirable": start + 0.01 * step, "reward_undesirable": start - 0.1 * step, **pairless}

    for steps in range(41):
        assert codes(metrics(steps, line), recipe(objective=objective, drift={"kl_budget": 1})) == []


def test_lines_before_a_class_or_a_check_was_seen_raise_no_alarm() -> None:
    def only_undesirable(_step: int) -> dict[str, Any]:
        return {"loss_desirable": None, "reward_desirable": None, "margin": None, "gradient_norm_desirable": None}

    assert codes([]) == codes(metrics(40, only_undesirable), recipe(drift={"kl_budget": 1})) == []


def test_falling_rewards_need_both_classes_and_a_real_fall() -> None:
    def slight(step: int) -> dict[str, Any]:
        return {"reward_desirable": -0.001 * step, "reward_undesirable": -0.2 * step}

    falling = SICK["rewards_fall"][1]
    assert codes(metrics(20, falling)) == ["rewards_fall"]
    assert codes(metrics(20, slight)) == codes(metrics(19, falling)) == []


def test_a_pinned_loss_is_said_only_after_half_of_the_run() -> None:
    pinned = SICK["nothing_learned"][1]

    assert codes(metrics(20, pinned)) == ["nothing_learned"]
    assert codes(metrics(20, pinned, total_steps=60)) == []


def test_a_clamp_that_changes_nothing_is_not_said() -> None:
    assert (
        codes(metrics(40, lambda _s: {"z0_raw": -0.1, "z0_clamped_share": 1.0}), recipe(drift={"kl_budget": 1})) == []
    )


def test_one_odd_gradient_or_length_is_no_trend() -> None:
    quiet = recipe(drift={"kl_budget": 1})

    assert codes(metrics(40, lambda s: {"gradient_norm_desirable": 99.0} if s == 36 else {}), quiet) == []
    assert codes(metrics(40, lambda s: {"sampled_length_median": 3.0} if s == 40 else {}), quiet) == []
    alone = recipe(drift={"kl_budget": 1, "checks": 1})
    assert codes(metrics(40, lambda s: {"sampled_length_median": 3.0} if s == 40 else {}), alone) == ["length_drift"]


def row(number: int, *, prompt: int, completion: int, desirable: bool, weight: float = 1.0) -> Row:
    return Row(
        prompt=np.array([1, prompt], dtype=np.int32),
        completion=np.array([completion, 2, 0], dtype=np.int32),
        desirable=desirable,
        weight=weight,
        completion_id=f"c{number}",
        prompt_key=hashlib.sha256(str(prompt).encode()).digest()[:16],
    )


def rows(count: int = 40, *, prompts: int = 40, desirable: int = 20, weight: float = 1.0) -> TokenisedRows:
    made = [
        row(n, prompt=n % prompts, completion=n + 100, desirable=n < desirable, weight=weight) for n in range(count)
    ]
    return TokenisedRows(made)


def said(read: TokenisedRows, of: Recipe, context: int | None = 1000) -> dict[str, str]:
    plan = batches.plan(read.rows, 4, even_classes=of.balance == "batch", seed=1, mismatched=of.objective == "kto")
    return {finding.code: finding.message for finding in of_rows(read, plan, of, context)}


def test_balanced_varied_rows_are_left_in_peace() -> None:
    assert said(rows(), recipe()) == {}


def test_many_truncated_rows_are_said_and_few_are_not() -> None:
    read = rows()
    read.truncated, read.tokens_cut = 3, 17
    few = rows()
    few.truncated, few.tokens_cut = 2, 17

    assert said(read, recipe())["many_truncated"].startswith(
        "3 of 40 rows were cut, 17 tokens in all: raise max_length"
    )
    assert said(few, recipe()) == {}


def test_duplicate_heavy_blocks_are_said_and_paired_blocks_are_not() -> None:
    read = rows(prompts=6)

    assert "share their prompt or completion" in said(read, recipe())["duplicates"]
    assert "duplicates" not in said(read, recipe(objective="apo_zero_unpaired"))
    alike = TokenisedRows([row(n, prompt=n, completion=n % 5, desirable=n < 20) for n in range(40)])
    assert "duplicates" in said(alike, recipe())


@pytest.mark.parametrize(
    ("desirable", "lambda_desirable", "ratio"), [(20, 1.0, None), (20, 1.5, None), (20, 2.0, "2"), (10, 1.0, "0.333")]
)
def test_weights_of_the_classes_outside_the_band_are_said(
    desirable: int, lambda_desirable: float, ratio: str | None
) -> None:
    message = said(rows(desirable=desirable, weight=0.5), recipe(lambda_desirable=lambda_desirable)).get("lambda_band")

    assert (message is None) if ratio is None else f"rows {ratio} times as much" in (message or "")


def test_classes_evened_by_batch_are_inside_the_band() -> None:
    assert "lambda_band" not in said(rows(desirable=10), recipe(balance="batch"))
