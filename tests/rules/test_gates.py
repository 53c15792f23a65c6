"""What evaluation must show before a checkpoint may ship."""

import copy
from typing import Any

import pytest
from thumbwheel import wire

from app.checkpoints.gates import reasons_to_refuse

GATES = wire.Gates(auroc_above=0.5, non_inferiority_margin=0.05, kl_nats_per_token=0.5)
GOOD: dict[str, Any] = {
    "auroc": {"value": 0.8, "low": 0.7, "high": 0.9},
    "auroc_difference": {"value": 0.1, "low": -0.04, "high": 0.2},
    "kl": {"nats_per_token": {"value": 0.2, "low": 0.1, "high": 0.4}, "samples": 64},
}


def changed(*path: str, to: Any) -> dict[str, Any]:
    scores = copy.deepcopy(GOOD)
    place = scores
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = to
    return scores


def test_good_scores_pass():
    assert reasons_to_refuse(GATES, GOOD) == []


def test_each_reason_names_the_figure_its_limit_and_the_remedy():
    reasons = reasons_to_refuse(GATES, {})

    assert [reason.split(":")[0] for reason in reasons] == ["auroc", "auroc_difference", "kl.nats_per_token"]
    (reason,) = reasons_to_refuse(GATES, changed("auroc", "low", to=0.431))
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
    ],
)
def test_the_interval_s_bad_end_decides(path, passes, refuses):
    assert reasons_to_refuse(GATES, changed(*path, to=passes)) == []
    (reason,) = reasons_to_refuse(GATES, changed(*path, to=refuses))
    assert reason.startswith(path[0])


@pytest.mark.parametrize("path", [("auroc", "low"), ("auroc_difference", "low"), ("kl", "nats_per_token", "high")])
@pytest.mark.parametrize("nothing", [None, float("nan"), "0.9"])
def test_a_missing_figure_refuses(path, nothing):
    (reason,) = reasons_to_refuse(GATES, changed(*path, to=nothing))

    assert "unknown" in reason


def test_the_scorer_s_own_reason_is_passed_on():
    absent = {"value": None, "low": None, "high": None, "reason": "the holdout has rows of one class only"}

    (reason,) = reasons_to_refuse(GATES, changed("auroc", to=absent))

    assert "unknown (the holdout has rows of one class only)" in reason
