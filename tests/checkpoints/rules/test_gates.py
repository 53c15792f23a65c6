"""Gates: the evaluation results that a checkpoint needs before it may ship."""

import copy
from typing import Any

import pytest
from thumbwheel import wire

from app.checkpoints.gates import reasons_to_refuse

GATES = wire.Gates(auroc_above=0.5, non_inferiority_margin=0.05, kl_nats_per_token=0.5)
GOOD: dict[str, Any] = {
    "rows_desirable": 40,
    "rows_undesirable": 24,
    "groups": 50,
    "auroc": {"value": 0.8, "low": 0.7, "high": 0.9},
    "auroc_difference": {"value": 0.1, "low": -0.04, "high": 0.2},
    "kl": {"nats_per_token": {"value": 0.2, "low": 0.1, "high": 0.4}, "samples": 64},
    "length": {"candidate_median": 40.0, "reference_median": 32.0, "ratio": 1.25, "holdout_median": 30.0},
}
TRAINING: dict[str, Any] = {"findings": []}
COLLAPSED = {"code": "rewards_fall", "message": "the rewards of both classes fall together: lower learning_rate"}


def changed(*path: str, to: Any) -> dict[str, Any]:
    scores = copy.deepcopy(GOOD)
    section = scores
    for name in path[:-1]:
        section = section[name]
    section[path[-1]] = to
    return scores


def test_good_scores_pass():
    assert reasons_to_refuse(GATES, GOOD, TRAINING) == []


def test_each_reason_names_the_figure_its_limit_and_the_remedy():
    reasons = reasons_to_refuse(GATES, {}, {})

    assert [reason.split(":")[0] for reason in reasons] == [
        "rows_desirable",
        "rows_undesirable",
        "groups",
        "auroc",
        "auroc_difference",
        "kl.nats_per_token",
        "length.ratio",
        "findings",
    ]
    (reason,) = reasons_to_refuse(GATES, changed("auroc", "low", to=0.431), TRAINING)
    assert reason == (
        "auroc: the lower bound on held-out feedback is 0.431, it must lie above 0.5: collect more feedback, or train "
        "longer or with a higher learning rate"
    )


@pytest.mark.parametrize(
    ("path", "passes", "refuses"),
    [
        (("auroc", "low"), 0.501, 0.5),
        (("auroc_difference", "low"), -0.05, -0.051),
        (("kl", "nats_per_token", "high"), 0.5, 0.501),
        (("length", "ratio"), 2.0, 2.01),
        (("length", "ratio"), 0.5, 0.49),
    ],
)
def test_the_interval_s_bad_end_decides(path, passes, refuses):
    assert reasons_to_refuse(GATES, changed(*path, to=passes), TRAINING) == []
    (reason,) = reasons_to_refuse(GATES, changed(*path, to=refuses), TRAINING)
    assert reason.startswith(path[0])


def test_a_margin_over_the_dumb_readers_is_required_only_where_it_is_set():
    scores = {**GOOD, "dumb_readers": {"best": "bag_of_words", "auroc_over_best": {"value": 0.1, "low": 0.02}}}
    asks = GATES.model_copy(update={"margin_over_dumb_readers": 0.02})
    more = GATES.model_copy(update={"margin_over_dumb_readers": 0.03})

    assert reasons_to_refuse(GATES, GOOD, TRAINING) == reasons_to_refuse(asks, scores, TRAINING) == []
    (reason,) = reasons_to_refuse(more, scores, TRAINING)
    assert reason.startswith(
        "dumb_readers.auroc_over_best: the lower bound of AUROC above the best dumb reader's (bag of words) is 0.020, "
        "it must be 0.03 at least: "
    )
    (reason,) = reasons_to_refuse(asks, GOOD, TRAINING)
    assert "unknown" in reason


@pytest.mark.parametrize("path", [("auroc", "low"), ("auroc_difference", "low"), ("kl", "nats_per_token", "high")])
@pytest.mark.parametrize("nothing", [None, float("nan"), "0.9"])
def test_a_missing_figure_refuses(path, nothing):
    (reason,) = reasons_to_refuse(GATES, changed(*path, to=nothing), TRAINING)

    assert "unknown" in reason


def test_the_scorer_s_own_reason_is_passed_on():
    absent = {"value": None, "low": None, "high": None, "reason": "the holdout has rows of one class only"}

    (reason,) = reasons_to_refuse(GATES, changed("auroc", to=absent), TRAINING)

    assert "unknown (the holdout has rows of one class only)" in reason


def test_a_model_that_has_become_three_times_as_wordy_is_refused():
    wordy = {"candidate_median": 104.0, "reference_median": 32.0, "ratio": 3.25}

    (reason,) = reasons_to_refuse(GATES, changed("length", to=wordy), TRAINING)

    assert reason.startswith(
        "length.ratio: the median length of sampled completions is 104 tokens, the reference's 32, it must be 0.5 to 2 "
        "times the reference's: check whether desirable rows are longer"
    )


@pytest.mark.parametrize("nothing", [None, float("nan"), "1"])
def test_an_unknown_length_refuses(nothing):
    none = {"candidate_median": None, "reference_median": None, "ratio": nothing}

    (reason,) = reasons_to_refuse(GATES, changed("length", to=none), TRAINING)

    assert "unknown" in reason


@pytest.mark.parametrize("name", ["rows_desirable", "rows_undesirable", "groups"])
def test_a_holdout_that_is_too_small_decides_nothing(name):
    assert reasons_to_refuse(GATES, changed(name, to=5), TRAINING) == []
    (reason,) = reasons_to_refuse(GATES, changed(name, to=4), TRAINING)
    assert reason.startswith(f"{name}: 4 ")


def test_what_the_trainer_found_after_its_last_step_refuses_by_its_code():
    harmless = {"code": "gradients_apart", "message": "…"}

    (reason,) = reasons_to_refuse(GATES, GOOD, {"findings": [harmless, COLLAPSED]})

    assert reason == f"rewards_fall: {COLLAPSED['message']}"
    lenient = GATES.model_copy(update={"refused_findings": ()})
    assert reasons_to_refuse(lenient, GOOD, {"findings": [COLLAPSED]}) == reasons_to_refuse(lenient, GOOD, {}) == []


@pytest.mark.parametrize("training", [{}, {"findings": None}])
def test_unknown_findings_refuse(training):
    (reason,) = reasons_to_refuse(GATES, GOOD, training)

    assert "unknown" in reason


@pytest.mark.parametrize(
    ("scores", "training"),
    [
        (changed("kl", "nats_per_token", "high", to=3.0), TRAINING),
        (changed("length", "ratio", to=3.0), TRAINING),
        (GOOD, {"findings": [COLLAPSED]}),
    ],
)
def test_no_reason_asks_to_train_harder_where_another_says_that_training_went_too_far(scores, training):
    reasons = reasons_to_refuse(GATES, {**scores, "auroc": {"low": 0.4}}, training)

    assert len(reasons) == 2
    assert reasons[0].endswith("collect more feedback")
