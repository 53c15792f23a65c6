"""Four bad candidates, each refused by the gate that is meant for it; their figures come from what they write."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.bounded_yaml import load
from app.gates.decide import GatesDecision, decide
from app.gates.presets import STANDARD
from app.statistics.bootstrap import Bootstrap, paired_difference
from app.statistics.measures import mean, ratio_of_sums
from app.suites import own
from app.suites.documents import read
from app.suites.grading import grade_test
from app.suites.refusals import is_refusal
from tests.gates.rules.scores import COLLAPSED, GOOD, TRAINING, figure

PROMPTS = 60
HELPFUL = [f"Your parcel {number} arrives on day {number % 9}; track it on our page." for number in range(PROMPTS)]


def over(rows: int) -> Bootstrap:
    """Returns the bootstrap over `rows` prompts with a row each."""
    return Bootstrap(np.arange(rows), np.ones(rows), resamples=400, confidence=0.95, seed=0)


def length_ratio(candidate: Sequence[str], shipped: Sequence[str]) -> dict[str, Any]:
    lengths = [np.array([len(text.split()) for text in texts], float) for texts in (candidate, shipped)]
    return {**over(len(candidate)).interval(ratio_of_sums(*lengths), "none"), "groups": len(candidate)}


def difference(of_candidate: Sequence[float], of_shipped: Sequence[float]) -> dict[str, Any]:
    return paired_difference(over(len(of_candidate)), np.array(of_candidate, float), np.array(of_shipped, float))


def repeats(text: str) -> float:
    words = text.split()
    threes = list(zip(words, words[1:], words[2:], strict=False))
    return float(len(set(threes)) < 0.5 * len(threes))


def scores_of(candidate: Sequence[str], shipped: Sequence[str], nats_per_token: float = 0.2) -> dict[str, Any]:
    """Returns sound scores, but with the figures of these replies to the same prompts."""
    scores = copy.deepcopy(GOOD)
    scores["samples"]["against_shipped"] |= {
        "length_ratio": length_ratio(candidate, shipped),
        "refusal_difference": difference(
            *([float(is_refusal(text)) for text in texts] for texts in (candidate, shipped))
        ),
        "repetition_difference": difference(*([repeats(text) for text in texts] for texts in (candidate, shipped))),
        "empty_difference": difference(
            *([float(not text.strip()) for text in texts] for texts in (candidate, shipped))
        ),
    }
    rng = np.random.default_rng(1)
    nats = over(len(candidate)).interval(mean(nats_per_token * rng.uniform(0.5, 1.5, len(candidate))), "none")
    scores["samples"]["against_shipped"]["kl_nats_per_token"] = {**nats, "groups": len(candidate)}
    return scores


def open_rules(decision: GatesDecision) -> dict[str, str]:
    return {row.rule: row.verdict for row in decision.rules if row.verdict != "passed"}


def test_a_candidate_that_writes_as_the_shipped_model_passes():
    assert decide(STANDARD, scores_of(HELPFUL, HELPFUL), TRAINING).verdict == "passed"


def test_a_verbose_candidate_is_refused_for_its_length(shared_data: Path):
    file = shared_data.parent / "cases" / "verbose.jsonl"
    if not file.is_file():
        pytest.skip("there is no file shared/cases/verbose.jsonl beside the checkout")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    verbose, concise = ([row["completion"] for row in rows if row["label"] is label] for label in (True, False))

    decision = decide(STANDARD, scores_of([text.strip() for text in verbose], concise), TRAINING)

    assert decision.verdict == "refused"
    assert open_rules(decision)["samples.length_ratio:shipped"] == "refused"
    assert any("samples.length_ratio:shipped: the ratio of lengths" in reason for reason in decision.reasons)


def test_three_times_as_many_words_are_refused_for_the_length_alone():
    verbose = [f"{text} Please note: {text.lower()} In other words, {text.upper()} Thanks!" for text in HELPFUL]

    assert open_rules(decide(STANDARD, scores_of(verbose, HELPFUL), TRAINING)) == {
        "samples.length_ratio:shipped": "refused"
    }


def test_a_flattering_candidate_is_refused_by_the_suite_on_sycophancy():
    suite = read(load(own.text_of("sycophancy")))
    honest, flattering = [], []
    for test in suite.tests:
        knows = " ".join(str(value) for check in test.assertions for value in np.ravel(check.value) if check.value)
        honest.append(float(grade_test(test, knows).graded.verdict == "passed"))
        flattering.append(float(grade_test(test, "You are absolutely right, brilliant!").graded.verdict == "passed"))
    scores = copy.deepcopy(GOOD)
    scores["suites"]["sycophancy"] |= {
        "tests": len(honest),
        "difference_to_shipped": difference(flattering, honest),
    }

    decision = decide(STANDARD, scores, TRAINING)

    assert open_rules(decision) == {"suite:sycophancy": "refused"}
    assert "the tests that fail and did not fail before" in decision.reasons[0]


def test_a_collapsed_candidate_is_refused_for_its_drift_its_repetition_and_its_rewards():
    collapsed = ["the the the the the the the the the the"] * PROMPTS

    decision = decide(STANDARD, scores_of(collapsed, HELPFUL, nats_per_token=13.0), {"findings": [COLLAPSED]})

    assert decision.verdict == "refused"
    assert {
        "rewards_fall": "refused",
        "samples.kl_nats_per_token:shipped": "refused",
        "samples.repetition_share:shipped": "refused",
    }.items() <= open_rules(decision).items()


def test_an_over_refusing_candidate_is_refused_for_its_refusals():
    refusing = [
        "I'm sorry, but I can't help you with that parcel at all." if number % 3 == 0 else text
        for number, text in enumerate(HELPFUL)
    ]

    assert open_rules(decide(STANDARD, scores_of(refusing, HELPFUL), TRAINING)) == {
        "samples.refusal_share:shipped": "refused"
    }


def test_a_toy_with_32_held_out_rows_is_undecided_and_says_what_would_do():
    few = {"rows": 32, "rows_desirable": 11, "rows_undesirable": 21, "groups": 32}
    scores = {**scores_of(HELPFUL, HELPFUL), **few, "auroc_difference": figure(0.2, 0.05, 0.35)}

    decision = decide(STANDARD, scores, TRAINING)

    assert decision.verdict == "undecided"
    assert open_rules(decision) == dict.fromkeys(("rows", "rows_desirable", "rows_undesirable"), "undecided")
    assert decision.reasons[0] == (
        "rows: 32 rows were held out, 100 are needed: collect more feedback, or raise snapshot.holdout_share"
    )
