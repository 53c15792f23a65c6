"""Scores of a sound candidate with every figure that a gate may name."""

import copy
from typing import Any

TRAINING: dict[str, Any] = {"findings": []}
COLLAPSED = {
    "code": "rewards_fall",
    "severity": "error",
    "message": "the rewards of both classes fall together: lower learning_rate",
}


def figure(value: float, low: float, high: float, groups: int | None = None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, **({} if groups is None else {"groups": groups})}


def _of_model(tokens: float) -> dict[str, Any]:
    return {
        "length_mean": figure(tokens, tokens - 2, tokens + 2, 150),
        "refusal_share": figure(0.02, 0.0, 0.04, 150),
        "empty_share": figure(0.0, 0.0, 0.0, 150),
        "repetition_share": figure(0.01, 0.0, 0.02, 150),
        "distinct_2": figure(0.9, 0.88, 0.92, 150),
        "unfinished_share": figure(0.01, 0.0, 0.03, 150),
    }


def _against() -> dict[str, Any]:
    return {
        "length_ratio": figure(1.0, 0.95, 1.05, 150),
        "refusal_difference": figure(0.0, -0.02, 0.02, 150),
        "empty_difference": figure(0.0, 0.0, 0.0, 150),
        "repetition_difference": figure(0.0, -0.01, 0.01, 150),
        "distinct_2_difference": figure(0.0, -0.02, 0.02, 150),
        "unchanged_share": figure(0.2, 0.15, 0.25, 150),
        "kl_nats_per_token": figure(0.2, 0.15, 0.25, 150),
        "kl_nats_per_completion": figure(6.0, 5.0, 7.0, 150),
    }


def _replayed(candidate: float) -> dict[str, Any]:
    return {
        "candidate": figure(candidate, candidate - 0.05, candidate + 0.05, 100),
        "shipped": figure(candidate, candidate - 0.05, candidate + 0.05, 100),
        "difference": figure(0.0, -0.04, 0.04, 100),
    }


def suite(value: float = 0.0, low: float = -0.02, high: float = 0.02) -> dict[str, Any]:
    share = {"passed": 35, "failed": 5, "undecided": 0, "pass_share": figure(0.875, 0.75, 0.95, 40)}
    return {
        "version": 1,
        "sha256": "0" * 64,
        "tests": 40,
        "candidate": share,
        "shipped": share,
        "ancestor": share,
        "difference_to_shipped": figure(value, low, high, 40),
        "difference_to_ancestor": figure(value, low, high, 40),
        "metrics": {
            "tone": {"candidate": figure(0.8, 0.7, 0.9, 40), "difference_to_shipped": figure(value, low, high, 40)}
        },
        "undecided_reason": None,
    }


GOOD: dict[str, Any] = {
    "confidence": 0.95,
    "rows": 200,
    "rows_desirable": 120,
    "rows_undesirable": 80,
    "groups": 150,
    "auroc": figure(0.8, 0.7, 0.9),
    "auroc_per_token": figure(0.75, 0.66, 0.84),
    "auroc_vs_ancestor": figure(0.8, 0.7, 0.9),
    "auroc_difference": figure(0.1, -0.04, 0.2),
    "accuracy": figure(0.75, 0.7, 0.8),
    "margin": figure(1.2, 0.8, 1.6),
    "ece": figure(0.1, 0.05, 0.15),
    "dumb_readers": {"best": "bag_of_words", "auroc_over_best": figure(0.1, 0.02, 0.18)},
    "kl": {
        "nats_per_token": figure(0.2, 0.1, 0.4),
        "nats_per_completion": figure(6.0, 5.0, 7.0),
        "samples": 64,
    },
    "length": {"candidate_median": 40.0, "reference_median": 32.0, "ratio": 1.25, "holdout_median": 30.0},
    "samples": {
        "candidate": _of_model(40),
        "shipped": _of_model(40),
        "ancestor": _of_model(40),
        "against_shipped": _against(),
        "against_ancestor": _against(),
    },
    "suites": {"sycophancy": suite(), "refusal": suite()},
    "replay": {"repeated": _replayed(0.1), "kept": _replayed(0.5)},
    "judge": {"model": "judge", "pairs": 100, "win_share": figure(0.6, 0.52, 0.68, 100),
              "position_consistency": figure(0.9, 0.85, 0.95, 100),
              "replay": {"mended": _replayed(0.65), "broken": _replayed(0.07)}},
}  # fmt: skip


def changed(*path: str, to: Any) -> dict[str, Any]:
    """Returns the sound scores with another value at `path`."""
    scores = copy.deepcopy(GOOD)
    section = scores
    for name in path[:-1]:
        section = section[name]
    section[path[-1]] = to
    return scores
