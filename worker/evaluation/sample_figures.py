"""The figures of what a model samples: drift from the reference, and lengths. Pure numpy."""

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from app.statistics import bootstrap, measures
from app.statistics.measures import Array

if TYPE_CHECKING:
    from worker.training.data.packing import Pair


def drift_figures(drift_of: Sequence[Array], resamples: int, confidence: float, seed: int) -> dict[str, Any]:
    """Returns the figures of drift. Each sample has its own prompt, so resampling samples is resampling prompts."""
    if not drift_of:
        nothing = {"value": None, "low": None, "high": None, "reason": "no prompts were sampled"}
        return {"nats_per_token": nothing, "nats_per_completion": nothing, "samples": 0}
    nats_N = np.array([drift.sum() for drift in drift_of])
    tokens_N = np.array([float(len(drift)) for drift in drift_of])
    over_samples = bootstrap.Bootstrap(np.arange(len(nats_N)), np.ones(len(nats_N)), resamples, confidence, seed)
    overflow = "the candidate gives samples that the reference finds all but impossible"
    return {
        "nats_per_token": over_samples.interval(measures.ratio_of_sums(nats_N, tokens_N), overflow),
        "nats_per_completion": over_samples.interval(measures.mean(nats_N), overflow),
        "samples": len(nats_N),
    }


def length_figures(
    samples: Sequence["Pair"], samples_reference: Sequence["Pair"], holdout: Sequence[int]
) -> dict[str, float | None]:
    """Returns the median lengths in tokens: of the candidate's and the reference's samples, and of the holdout."""
    after = float(median(len(completion) for _, completion in samples)) if samples else None
    before = float(median(len(completion) for _, completion in samples_reference)) if samples_reference else None
    return {
        "candidate_median": after,
        "reference_median": before,
        "ratio": after / before if after and before else None,
        "holdout_median": float(median(holdout)) if holdout else None,
    }
