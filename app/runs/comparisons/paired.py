"""Paired differences between arms over prompts, from the samples of their checkpoints. Pure numpy.

A prompt's value is the mean over its held-out samples that were drawn (not the greedy ones). Legend: N prompts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from thumbwheel import wire

from app.statistics.bootstrap import Bootstrap, paired_difference
from app.statistics.measures import Array

RESAMPLES, CONFIDENCE, SEED = 1000, 0.95, 0

#: The columns of samples.parquet that are read.
COLUMNS = ("source", "group", "model", "decoding", "tokens", "lp_candidate", "lp_shipped")


class PromptValues(NamedTuple):
    """The mean completion of one model for a prompt: its tokens, and its log-prob under the model minus that under the
    reference, in nats, summed over the completion.
    """

    tokens: float
    nats: float


Values = Mapping[str, PromptValues]  # by prompt group


def values_of(rows: Sequence[Mapping[str, Any]], model: str) -> Values:
    """Returns the values of the held-out prompts that `model` (candidate or shipped) has samples of."""
    samples: dict[str, list[PromptValues]] = {}
    for row in rows:
        if row["source"] == "holdout" and row["model"] == model and row["decoding"] == "sampled":
            nats = 0.0 if model == "shipped" else _difference(row["lp_candidate"], row["lp_shipped"])
            samples.setdefault(row["group"], []).append(PromptValues(float(row["tokens"]), nats))
    return {group: PromptValues(*np.mean(drawn, axis=0).tolist()) for group, drawn in samples.items()}


def difference_of(first: tuple[str, Values], second: tuple[str, Values]) -> wire.ArmDifference | None:
    """Returns the first arm minus the second on the prompts that both have; None if they share none."""
    shared = sorted(first[1].keys() & second[1].keys())
    if not shared:
        return None
    over_prompts = Bootstrap(np.arange(len(shared)), np.ones(len(shared)), RESAMPLES, CONFIDENCE, SEED)

    def figure(name: str) -> wire.ArmFigure:
        sides: list[Array] = [
            np.array([getattr(values[group], name) for group in shared]) for _, values in (first, second)
        ]
        difference = paired_difference(over_prompts, *sides)
        return wire.ArmFigure(**{part: difference.get(part) for part in wire.ArmFigure.model_fields})

    return wire.ArmDifference(
        first=first[0],
        second=second[0],
        prompts=len(shared),
        tokens=figure("tokens"),
        kl_nats_per_completion=figure("nats"),
    )


def _difference(first: float | None, second: float | None) -> float:
    return np.nan if first is None or second is None else first - second
